"""A sweep's folder: what launchers write into it."""

import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from artnet.rundir import RunDir, write_json
from shards.errors import UserError
from shards.files import atomic_write, locked, locked_patiently

from ..grid import Expansion, Grid, Run
from .plan import Found
from .state import LIVE, State, on_this_machine


class Sweep:
    """`RUNS/NAME/`: one folder for a grid, one in it for each run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replaced = folder / "replaced"
        self.code = folder / "code"
        self.lock = folder / ".lock"

    def run(self, run: Run) -> RunDir:
        """The folder of a run."""
        return RunDir(self.folder / run.config.name)

    @contextlib.contextmanager
    def locked(self, wait: bool) -> Iterator[None]:
        """Be the only launcher at work here: wait for another one to end, or raise `UserError`."""
        lock, busy = self.lock, f"another launcher is at work on {self.folder}"
        if wait:
            with locked_patiently(lock, busy):
                yield
            return
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(lock, wait_s=0))
            except BlockingIOError:
                raise UserError(f"{busy}; wait for it or stop it, then run this again") from None
            yield

    def commit(self, grid: Grid, expansion: Expansion, everything: Sequence[Run]) -> None:
        """Write the manifest, a copy of the grid file and the configuration of each run to be started.

        `everything` is the whole grid, also where only a part of it is selected: the table is about the whole.
        """
        manifest = {
            "name": grid.name,
            "grid": str(grid.file),
            "arithmetic": expansion.arithmetic,
            "metric": grid.metric,
            "reference": list(grid.reference),
            "runs": [
                {"name": run.config.name, "signature": run.config.signature, "values": run.values} for run in everything
            ],
        }
        atomic_write(self.folder / "grid.yaml", grid.file.read_bytes())
        write_json(self.folder / "manifest.json", manifest)

        def write_config(run: Run) -> None:
            folder, shards = self.run(run), run.config.data.shards
            if shards and not folder.result(run.config.signature):
                folder.write_config(run.config.with_shards(shards))

        with ThreadPoolExecutor(16) as threads:  # each waits for the disk most of the time
            list(threads.map(write_config, expansion.runs))

    def dropped(self, everything: Sequence[Run]) -> list[Run]:
        """The runs that were launched here, are not in the grid of `everything` and have not been pruned.

        A folder whose configuration cannot be read is none of them.
        """
        known = {run.config.name for run in everything}
        gone = []
        for file in sorted(self.folder.glob("*/state.json")):
            folder = RunDir(file.parent)
            if folder.name in known or (folder.state().get("pruned") and folder.state().get("state") not in LIVE):
                continue
            with contextlib.suppress(UserError):
                config = folder.config()
                if config.name == folder.name:
                    gone.append(Run(config, {}))
        return gone

    def set_aside(self, folder: RunDir) -> Path:
        """Move what a run has out of the way, into `replaced/`: the run starts afresh, and nothing is lost."""
        for number in itertools.count(1):
            place = self.replaced / f"{folder.name}.{number}"
            if not place.exists():
                break
        place.parent.mkdir(exist_ok=True)
        return folder.path.rename(place)

    def find(self, runs: Sequence[Run]) -> dict[str, Found]:
        """How each run is found by looking at its folder alone."""
        return {run.config.name: find_run(self.run(run), run.config.signature) for run in runs}


def find_run(folder: RunDir, signature: str) -> Found:
    """How a run is found by looking at its folder alone."""
    recorded = folder.state()
    complete = folder.result(signature) is not None
    if not complete and recorded.get("launcher") == "slurm" and recorded.get("state") in LIVE:
        return Found(State(recorded["state"]), "as launch/slurm.py last saw it")
    state = on_this_machine(complete, folder.is_locked(), str(recorded.get("state", "")))
    if state is State.INTERRUPTED and recorded.get("state") != State.INTERRUPTED:
        return Found(state, "its launcher and its process are gone")
    return Found(state, "" if complete else str(recorded.get("reason", "")))


def note_state(folder: RunDir, state: State, reason: str = "", **details: Any) -> None:
    """Record in `state.json` what a launcher saw; `details` such as a job id stay until they are replaced."""
    kept = {key: value for key, value in folder.state().items() if key not in ("state", "reason")}
    write_json(folder.state_file, {"state": state, "reason": reason, **kept, **details})


def cancelled_since(folder: RunDir, moment: float) -> bool:
    """Whether the run was cancelled after `moment`, in seconds of `time.time()`: by somebody else than its launcher."""
    cancelled = folder.state().get("cancelled")
    return isinstance(cancelled, int | float) and cancelled > moment


def next_attempt(folder: RunDir) -> int:
    """The number of a new attempt, from 1."""
    numbers = [int(path.name) for path in folder.attempts.glob("[0-9]*") if path.name.isdecimal()]
    return max(numbers, default=0) + 1


def attempt_folder(folder: RunDir, number: int) -> Path:
    """The folder of an attempt, made if need be."""
    path = folder.attempts / f"{number:03d}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def last_words(file: Path) -> str:
    """The last line of a log that is not empty, without the `error: ` in front of it."""
    lines = last_lines(file)
    return lines[-1].removeprefix("error: ") if lines else ""


def last_lines(file: Path) -> list[str]:
    """The last lines of a log that are not empty, none of more than 500 characters; none if it cannot be read."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 8192))
            lines = log.read().decode(errors="replace").split("\n")
    except OSError:
        return []
    return [line.strip()[:500] for line in lines if line.strip()]


def last_outcome(folder: RunDir, after: int) -> str:
    """What the training noted about the end of its last attempt, if it began one after the first `after`."""
    attempts = folder.run().get("attempts", [])
    return str(attempts[-1].get("outcome", "")) if len(attempts) > after else ""
