"""An attempt at a run: its folder, its logs and its training process."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from artnet.provenance import process_start
from artnet.rundir import RunDir
from shards.errors import UserError
from shards.files import open_log, open_regular
from shards.locks import by_whom

from ..host.cpus import bound_to
from .state import State, after_exit

PATIENCE_S = 90  # a training on CPUs may take long for a step
POLL_S = 0.2


def training_command(folder: RunDir, processes: int = 1) -> list[str]:
    """The command that trains a run, in one process or several.

    `-P` makes it import the same code from every working directory.
    """
    program = ["-m", "artnet.train", "--config", str(folder.config_file), "--run-dir", str(folder.path)]
    if processes > 1:
        program += ["--processes", str(processes)]
    return [sys.executable, "-P", *program]


@dataclass
class TrainingProcess:
    """The process that trains a run; a signal asks it to stop at its next step.

    `attempts_before` is the number of attempts that the run had recorded before.
    """

    run: RunDir
    stderr: Path
    attempts_before: int
    process: subprocess.Popen[bytes]

    @classmethod
    def start(
        cls,
        run: RunDir,
        command: Sequence[str],
        stdout: Path,
        stderr: Path,
        environment: Mapping[str, str],
        cpus: Collection[int] = (),
        **options: Any,
    ) -> Self:
        """Start `command` on these CPUs, by default all, and append its output to the logs.

        `options` are those of `subprocess.Popen`.
        """
        attempts_before = len(run.run().get("attempts", []))
        with open_log(stdout) as out, open_log(stderr) as err, bound_to(cpus):
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment, **options
            )
        return cls(run, stderr, attempts_before, process)

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self.process.poll()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask the training to save a checkpoint at its next step and end. Several requests act as one."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def judge(self, signature: str) -> tuple[State, str]:
        """Wait for the process to end. Returns the state of the run with this `signature`, and the reason."""
        code = self.process.wait()
        if self.run.result(signature):
            return State.COMPLETE, ""
        if not self.run.config_file.exists():
            return State.FAILED, "its folder was deleted or moved while it was being trained"
        return after_exit(code, self.outcome, last_line(self.stderr))

    @property
    def outcome(self) -> str:
        """What the training recorded about its end; empty if nothing."""
        return last_outcome(self.run, self.attempts_before)


def next_attempt(folder: RunDir) -> int:
    """The number of a new attempt, from 1."""
    numbers = [int(path.name) for path in folder.attempts.glob("[0-9]*") if path.name.isdecimal()]
    return max(numbers, default=0) + 1


def attempt_folder(folder: RunDir, number: int) -> Path:
    """The folder of an attempt, created if missing. Raises `UserError` if the run's own folder was deleted."""
    if not folder.config_file.exists():
        raise UserError(f"{folder.path} was deleted; launch the grid again to train this run from scratch")
    path = folder.attempts / f"{number:03d}"
    path.mkdir(parents=True, exist_ok=True)
    return path


def last_line(file: Path) -> str:
    """The last non-empty line of a log, without a leading `error: `."""
    lines = last_lines(file)
    return lines[-1].removeprefix("error: ") if lines else ""


def last_lines(file: Path) -> list[str]:
    """The last non-empty lines of a log, each cut to 500 characters; none if it cannot be read."""
    try:
        with open_regular(file) as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 8192))
            lines = log.read(8192).decode(errors="replace").split("\n")
    except OSError:
        return []
    return [line.strip()[:500] for line in lines if line.strip()]


def last_outcome(folder: RunDir, after: int) -> str:
    """What the training recorded about the end of its last attempt, unless that is one of the first `after`."""
    attempts = folder.run().get("attempts", [])
    return str(attempts[-1].get("outcome", "")) if len(attempts) > after else ""


def end_processes(folders: Sequence[RunDir]) -> None:
    """Ask the processes on this machine that train these runs to stop, and wait until they have ended.

    Raises `UserError` if one does not end in time.
    """
    until, asked = time.monotonic() + PATIENCE_S, set()
    while folders := [folder for folder in folders if folder.is_locked()]:
        for folder in folders:
            process = training_process(folder)
            if process is not None and process not in asked:  # a process that has just started is not recorded yet
                asked.add(process)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
        if time.monotonic() > until:
            who = by_whom(folders[0].lock_file)
            raise UserError(f"{folders[0].path} is still being trained{who}; end its process, then run this again")
        time.sleep(POLL_S)


def training_process(folder: RunDir) -> int | None:
    """The id of the process on this machine that trains the run, as its last attempt recorded it; None if gone.

    What the folder says is not trusted: the process must be of this user, have started when the attempt recorded it,
    and have the arguments of a training in this folder.
    """
    attempt = (folder.run().get("attempts") or [{}])[-1]
    process = attempt.get("pid")
    if type(process) is not int or process <= 0 or attempt.get("host") != socket.gethostname():
        return None
    start = process_start(process)
    if not start or attempt.get("process_start", start) != start:  # earlier versions did not record it
        return None
    proc = Path(f"/proc/{process}")
    try:
        owner, where = proc.stat().st_uid, (proc / "cwd").readlink()
        words = os.fsdecode((proc / "cmdline").read_bytes()).split("\0")[:-1]
    except OSError:
        if Path("/proc/self").exists():
            return None
        owner, where, words = _by_ps(process)
    return process if owner == os.getuid() and _trains(words, folder.path, where) else None


def _by_ps(process: int) -> tuple[int, Path, list[str]]:
    """The user, folder and arguments of a process on macOS, which does not tell a process's folder."""
    ps = ["ps", "-ww", "-o", "uid=,args=", "-p", str(process)]
    try:
        shown = subprocess.run(ps, capture_output=True, text=True).stdout
    except OSError:
        return -1, Path(), []
    owner, *words = shown.split() or ["-1"]
    return int(owner), Path.cwd(), words


def _trains(words: Sequence[str], folder: Path, where: Path) -> bool:
    """Whether these are the arguments of a training of the run in `folder`, by a process whose folder is `where`."""
    if "-m" not in words or "--run-dir" not in words[:-1]:
        return False
    module = words.index("-m") + 1
    flags_of_python = words[1 : module - 1]
    given = where / words[words.index("--run-dir") + 1]
    return (
        words[module] == "artnet.train"
        and all(re.fullmatch("-[A-Zbdiqsuv]+", flag) for flag in flags_of_python)
        and given.resolve() == folder.resolve()
    )
