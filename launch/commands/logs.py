"""Logs of a run: stdout and stderr of its last attempt, all ranks, or the scheduler's log if it never started."""

import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from artnet.rundir import RunDir
from shards.files import open_regular
from shards.streams import harmless, reader_has_gone

from ..console import say
from ..grid import selection
from ..sweep.backend import Engines
from ..sweep.state import LIVE, State
from .session import Session

POLL_S = 0.5
SETTLES_S = 30  # how long after its result a run may say more, if no launcher records its end
MAX_LOG = 20_000_000  # bytes that are shown of a log
MAX_LINE = 1_000_000  # bytes; what is longer is shown as several lines


def show(session: Session) -> int:
    """Print the logs of a run's last attempt, and with `--follow` what is added until the run ends. Returns 0."""
    runs = session.observe()[0] if session.options.states else session.expansion.runs
    run = runs[0] if len(runs) == 1 and not session.options.logs else selection.one(runs, session.options.logs)
    folder = session.sweep.run(run)
    reader = Reader(folder, session.engines, sys.stdout.buffer, say)

    def state() -> State:
        return session.engines.find(session.sweep, [run], False).found[run.config.name].state

    def is_complete() -> bool:
        return folder.result(run.config.signature) is not None

    if session.options.follow:
        reader.follow(
            is_alive=lambda: not is_complete() and state() in LIVE,
            is_ending=lambda: is_complete() and folder.state().state in LIVE,
        )
        return 0
    reader.read(to_the_end=True)
    if not files(folder, session.engines):
        say(f"{folder.name} has no logs yet: {state().replace('_', ' ')}")
    return 0


def files(folder: RunDir, engines: Engines) -> list[Path]:
    """The logs of the run's last attempt, rank by rank; where its job has come to no attempt, the job's own."""
    if log := engines.of(folder).log(folder):
        return [log]
    attempts = [path for path in folder.attempts.glob("[0-9]*") if path.name.isdecimal() and path.is_dir()]
    if not attempts:
        return []
    last = max(attempts, key=lambda path: int(path.name))
    found = [file for file in last.iterdir() if re.fullmatch(r"(stdout|stderr)(\.[0-9]{1,9})?", file.name)]
    return sorted(found, key=lambda file: (_rank(file), file.name.startswith("stderr")))


def _rank(file: Path) -> int:
    rank = file.name.partition(".")[2]  # of stdout.3
    return int(rank) if rank.isdecimal() else 0


@dataclass
class Reader:
    """Prints what is new in the logs of a run, whole lines at a time, to `out`; names the files by `say`."""

    folder: RunDir
    engines: Engines
    out: BinaryIO
    say: Callable[[str], None]
    _places: dict[Path, int] = field(default_factory=dict)
    _logs: list[Path] = field(default_factory=list)

    def read(self, to_the_end: bool = False) -> None:
        """Print the lines that have been added; `to_the_end`, a last one without a newline too."""
        logs = files(self.folder, self.engines)
        if logs and [file.parent for file in logs[:1]] != [file.parent for file in self._logs[:1]]:
            self._print(to_the_end=True)  # the last lines of the attempt before
            self.say(f"{logs[0].parent}: {', '.join(file.name for file in logs)}")
        self._logs = logs
        self._print(to_the_end)

    def _print(self, to_the_end: bool) -> None:
        several = len({_rank(file) for file in self._logs}) > 1
        for file in self._logs:
            start = b"rank %d | " % _rank(file) if several else b""
            try:
                with open_regular(file) as log:
                    self._print_new(file, log, start, to_the_end)
            except OSError as error:
                if file not in self._places:
                    self._places[file] = 0
                    self.say(f"warning: {file} cannot be read: {error.strerror}")
        self.out.flush()

    def _print_new(self, file: Path, log: BinaryIO, start: bytes, to_the_end: bool) -> None:
        size = os.fstat(log.fileno()).st_size
        place = self._places.get(file, 0)
        if size - place > MAX_LOG:
            place = size - MAX_LOG
            self.say(f"{file}: only its last {MAX_LOG:,} bytes are shown")
        log.seek(place)
        while place < size and (line := log.readline(MAX_LINE)):
            if not (line.endswith(b"\n") or to_the_end or len(line) == MAX_LINE):
                break
            place += len(line)
            text = line.removesuffix(b"\n").decode(errors="surrogateescape")
            self.out.write(start + harmless(text).encode(errors="surrogateescape") + b"\n")
        self._places[file] = place

    def follow(self, is_alive: Callable[[], bool], is_ending: Callable[[], bool]) -> None:
        """Print what is new as long as the run is alive and somebody reads it, and what it says after its result.

        A training prints its scores when its result is written: it `is_ending` until its launcher has recorded the end.
        """
        while is_alive() and not reader_has_gone():
            self.read()
            time.sleep(POLL_S)
        given_up = time.monotonic() + SETTLES_S
        while is_ending() and not reader_has_gone() and time.monotonic() < given_up:
            self.read()
            time.sleep(POLL_S)
        self.read(to_the_end=True)
