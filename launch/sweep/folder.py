"""A sweep's folder: what launchers write into it, and the state of a run by its own folder."""

import contextlib
import itertools
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from artnet.formats import FORMAT
from artnet.rundir import RunDir, RunState, write_json
from artnet.weights import as_begun
from shards.errors import UserError
from shards.files import atomic_write, open_log, read_bounded
from shards.locks import LockError, by_whom, is_locked, locked, locked_patiently

from ..grid import Expansion, Grid, Run
from .hparams import HparamsTable
from .state import ENDED_BADLY, LIVE, Found, State, on_this_machine


class SweepDir:
    """`RUNS/NAME/`: the folder of a grid, with one folder in it for each run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.replaced = folder / "replaced"
        self.code = folder / "code"
        self.lock = folder / ".lock"

    def run(self, run: Run) -> RunDir:
        """The folder of a run."""
        return RunDir(self.folder / run.config.name)

    def as_begun(self, expansion: Expansion) -> Expansion:
        """The same runs, each with the signature under which it was begun here: see `artnet/weights.py`."""
        return Expansion([self.begun(run) for run in expansion.runs], expansion.arithmetic)

    def begun(self, run: Run) -> Run:
        """The same run, with the signature under which it was begun here."""
        return Run(as_begun(run.config, self.folder), run.values)

    @contextlib.contextmanager
    def locked(self, engine: str, wait: bool) -> Iterator[None]:
        """Hold the lock of the sweep for a launcher of `engine`. Raises `UserError` if it is held, unless `wait`."""
        busy = f"another launcher is at work on {self.folder}"
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked_patiently(self.lock, busy) if wait else locked(self.lock, wait_s=0))
            except BlockingIOError:
                who = by_whom(self.lock)
                raise UserError(f"{busy}{who}; wait for it or stop it, then run this again") from None
            self._sign(engine)
            yield

    @contextlib.contextmanager
    def held(self, engine: str, wait_s: float) -> Iterator[None]:
        """The same for a process that waits by itself. Raises `BlockingIOError` if it is held for so many seconds."""
        with locked(self.lock, wait_s):
            self._sign(engine)
            yield

    def _sign(self, engine: str) -> None:
        # On a full disk, other launchers cannot name this engine.
        with contextlib.suppress(OSError, UserError), open_log(self.lock) as lock:
            lock.truncate(0)
            lock.write(engine.encode())

    def launcher_at_work(self) -> str | None:
        """The engine whose launcher holds the lock now; None if there is none, empty if it is not recorded."""
        if not is_locked(self.lock):
            return None
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return read_bounded(self.lock, 1000).decode()
        return ""

    def commit(self, grid: Grid, expansion: Expansion, everything: Sequence[Run]) -> None:
        """Write the manifest, a copy of the grid file and the configuration of each run to start.

        `everything` is the whole grid, even if only a part of it is selected: the table covers the whole grid.
        """
        manifest = {
            "format": FORMAT,
            "name": grid.name,
            "grid": str(grid.file),
            "arithmetic": expansion.arithmetic,
            "metric": grid.metric,
            "reference": list(grid.reference),
            "baseline": grid.baseline,
            "on_end": list(grid.on_end),
            "runs": [
                {"name": run.config.name, "signature": run.config.signature, "values": run.values} for run in everything
            ],
        }
        atomic_write(self.folder / "grid.yaml", grid.document.text)
        write_json(self.folder / "manifest.json", manifest)

        table = HparamsTable(grid, everything)

        def write(run: Run) -> None:
            folder, shards = self.run(run), run.config.data.shards
            if not shards or folder.unreadable():
                return
            is_complete = folder.result(run.config.signature) is not None
            if not is_complete:
                folder.write_config(run.config.with_shards(shards))
            if not is_complete or folder.hparams_file.exists():  # those of earlier versions keep the row they have
                table.write_row(folder, run)

        with ThreadPoolExecutor(16) as threads:  # bound by the disk, not by the CPU
            list(threads.map(write, expansion.runs))

    def dropped(self, everything: Sequence[Run]) -> list[Run]:
        """The runs that were launched here, are not in `everything` and have not been pruned.

        Folders whose configuration cannot be read are ignored.
        """
        known = {run.config.name for run in everything}
        gone = []
        for file in sorted(self.folder.glob("*/state.json")):
            folder = RunDir(file.parent)
            if folder.name in known:
                continue
            with contextlib.suppress(UserError):
                if folder.state().pruned and folder.state().state not in LIVE:
                    continue
                config = folder.config()
                if config.name == folder.name:
                    gone.append(Run(config, {}))
        return gone

    def set_asides(self) -> list[Path]:
        """The folders in `replaced/` that `set_aside` has named; it may hold other things."""
        name = r"[A-Za-z0-9_-]+_[a-z+]+_s[0-9]+-[0-9a-f]{8}\.[1-9][0-9]*"
        return sorted(path for path in self.replaced.glob("*") if re.fullmatch(name, path.name) and path.is_dir())

    def set_aside(self, folder: RunDir) -> Path:
        """Move a run's folder to `replaced/`, so that the run starts from scratch and nothing is lost.

        Raises `UserError` if a process trains it, and `LockError` if that cannot be known.
        """
        if folder.is_locked():
            who = by_whom(folder.lock_file)
            raise UserError(f"{folder.path} is still being trained{who}; wait for its process to end, then try again")
        for number in itertools.count(1):
            place = self.replaced / f"{folder.name}.{number}"
            if not place.exists():
                break
        place.parent.mkdir(exist_ok=True)
        return folder.path.rename(place)


def find_run(folder: RunDir, signature: str) -> Found:
    """The state of a run that has no scheduler, from its folder alone.

    A file of a newer version cannot be read: the others are found all the same.

    A lock that cannot be asked may be held: the run is unknown, not dead. Only how a run has ended is believed where
    this user may not open the lock, as in a colleague's folder: nothing can be changed there.
    """
    try:
        recorded = folder.state()
        if error := folder.unreadable():
            return Found(State.UNREADABLE, f"{error.filename}: {error.strerror}")
        complete = folder.result(signature) is not None
        folder.run()
    except UserError as newer:
        return Found(State.UNREADABLE, str(newer))
    try:
        state = on_this_machine(complete, not complete and folder.is_locked(), recorded.state)
    except LockError as unknown:
        if not unknown.is_denied or recorded.state not in {*ENDED_BADLY, State.INTERRUPTED}:
            return Found(State.UNKNOWN, str(unknown))
        state = State(recorded.state)
    if state is State.INTERRUPTED and recorded.state != State.INTERRUPTED:
        return Found(state, "its launcher and its process are gone")
    if state is State.FAILED and recorded.state == State.COMPLETE:
        return Found(state, folder.lost_result)
    return Found(state, "" if complete else recorded.reason)


def note_state(folder: RunDir, state: State, reason: str = "", **details: Any) -> None:
    """Record in `state.json` what a launcher knows about a run.

    `details` are fields of `RunState`; those that are not given keep their values. If the `launcher` changes, the
    job or slot of the old one is dropped. A folder that was deleted, or is being deleted, is not written to.
    """
    if not folder.config_file.exists():
        return
    recorded = folder.state()
    if details.get("launcher", recorded.launcher) != recorded.launcher:
        kept = ("cancelled", "exit_code", "judged_epoch", "stopped_epoch", "promoted")
        recorded = RunState(**{name: getattr(recorded, name) for name in kept})
    recorded.model_copy(update={"state": state, "reason": reason, **details}).write(folder.state_file)


def cancelled_since(folder: RunDir, moment: float) -> bool:
    """Whether another process cancelled the run after `moment`, in seconds of `time.time()`."""
    cancelled = folder.state().cancelled
    return cancelled is not None and cancelled > moment
