"""Ending runs that live, wherever they live: jobs by `scancel`, processes of this machine by SIGTERM.

Both let the training save a checkpoint at its next step.
"""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from artnet.rundir import RunDir
from shards.errors import UserError

from ..cluster.queue import environment
from ..sweep.folder import note_state
from ..sweep.plan import Found
from ..sweep.state import LIVE, State

PATIENCE_S = 90  # SLURM kills after KillWait, 30 s by default; a training on CPUs may take long for a step
POLL_S = 1.0


def cancel(folders: Sequence[RunDir], found: Mapping[str, Found], reason: str) -> list[RunDir]:
    """End those of the runs that live, note it, and wait until they have ended. Returns those.

    Raises `UserError` if SLURM refuses, or if a run goes on nevertheless.
    """
    living = [folder for folder in folders if found[folder.name].state in LIVE]
    jobs = {folder.name: job for folder in living if (job := found[folder.name].job)}
    if jobs:
        _run(["scancel", *arrays(list(jobs.values()))], "cancelled", accepts="Invalid job id")
    others = [folder for folder in living if folder.name not in jobs]
    for folder in others:  # first, so that their launcher does not go on with them
        note_state(folder, State.CANCELLED, reason, cancelled=time.time())
    _end_processes(others)
    _wait_for_jobs(list(jobs.values()))
    for folder in living:  # last: who finds a run cancelled does not ask after its job any more
        note_state(folder, State.CANCELLED, reason, cancelled=time.time())
    return living


def arrays(jobs: Sequence[str]) -> list[str]:
    """The same jobs in few words: `["7_0", "7_1", "7_4", "9"]` are `["7_[0-1,4]", "9"]`."""
    elements: dict[str, list[int]] = {}
    single = []
    for job in dict.fromkeys(jobs):
        parent, underscore, element = job.partition("_")
        if underscore:
            elements.setdefault(parent, []).append(int(element))
        else:
            single.append(job)
    return [f"{parent}_[{','.join(_ranges(sorted(numbers)))}]" for parent, numbers in elements.items()] + single


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run = [number for _, number in group]
        yield f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0])


def _run(command: list[str], done: str, accepts: str = "\0") -> str:
    """What SLURM answers. A job that has ended meanwhile is as good as cancelled."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"nothing was {done}: {command[0]} does not work here ({error}); try where it does") from None
    trouble = [line for line in answer.stderr.splitlines() if accepts not in line]
    if answer.returncode and trouble:
        raise UserError(f"SLURM has not {done} all of it: {' '.join(trouble[0].split())}; try again when it answers")
    return answer.stdout


def _wait_for_jobs(jobs: Sequence[str]) -> None:
    until, waited = time.monotonic() + PATIENCE_S, set(jobs)
    while waited:
        listing = _run(["squeue", "--noheader", "--array", "--me", "--format=%i"], "seen to end")
        waited &= set(listing.split())
        if waited and time.monotonic() > until:
            raise UserError(f"SLURM has not ended {', '.join(sorted(waited)[:5])} yet; run this again in a while")
        if waited:
            time.sleep(POLL_S)


def _end_processes(folders: Sequence[RunDir]) -> None:
    until, asked = time.monotonic() + PATIENCE_S, set()
    while folders := [folder for folder in folders if folder.is_locked()]:
        for folder in folders:
            process = training_process(folder)
            if process is not None and process not in asked:  # one that has just begun has not noted itself yet
                asked.add(process)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGTERM)
        if time.monotonic() > until:
            raise UserError(f"{folders[0].path} is still being trained; end its process, then run this again")
        time.sleep(POLL_S / 5)


def training_process(folder: RunDir) -> int | None:
    """The process on this machine that trains the run, as its last attempt noted it; None if it is not there."""
    attempts = folder.run().get("attempts") or [{}]
    process = attempts[-1].get("pid")
    if not isinstance(process, int) or attempts[-1].get("host") != socket.gethostname():
        return None
    try:  # the number may belong to another program by now
        told = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        ps = ["ps", "-o", "args=", "-p", str(process)]
        try:
            told = subprocess.run(ps, capture_output=True).stdout
        except OSError:
            return None
    return process if b"artnet.train" in told and folder.name.encode() in told else None
