"""The workers of a search, as far as they are alive: jobs that find their runs by themselves."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from artnet.rundir import RunDir
from shards.errors import UserError

from ..sweep.folder import SweepDir, note_state
from ..sweep.state import ENDED_WELL, Found, State
from . import programs, queue
from .job_array import Array
from .observe import HELD, is_running
from .queue import QueueEntry


def living(sweep: SweepDir) -> list[QueueEntry]:
    """The jobs of the workers that wait or run. Raises `UserError` if SLURM does not answer.

    Without SLURM, all of an array are as alive as the process that starts them.
    """
    arrays = Array.of_search(sweep.folder)
    here = [array for array in arrays if array.process]
    alive = [array for array in here if is_running(array.process, array.name)]
    found = [QueueEntry(array.process, "RUNNING") for array in alive for _ in range(array.workers)]
    names = [array.name for array in arrays if not array.process]
    answer = queue.ask(names, (), datetime.now())
    if not answer.queue_known:
        raise UserError(f"SLURM does not answer ({answer.trouble}); try again when it does")
    return [*found, *(job for job in answer.jobs.values() if not job.has_ended and job.reason != HELD)]


def in_words(jobs: Sequence[QueueEntry]) -> str:
    """`4 workers: 3 running, 1 pending (job 7_3)`; empty if there are none."""
    if not jobs:
        return ""
    waiting = [job for job in jobs if not _is_running(job)]
    ids = ", ".join(programs.arrays([job.id for job in waiting]))
    parts = [f"{len(jobs) - len(waiting)} running"] * (len(waiting) < len(jobs))
    parts += [f"{len(waiting)} pending (job {ids})"] * bool(waiting)
    return f"{len(jobs)} worker{'s' * (len(jobs) > 1)}: {', '.join(parts)}"


def _is_running(job: QueueEntry) -> bool:
    return queue.from_slurm(job.word) is State.RUNNING


def end(sweep: SweepDir, jobs: Sequence[QueueEntry]) -> None:
    """End workers; the trainings save a checkpoint. Raises `UserError` if one does not end."""
    processes = {array.process: array for array in Array.of_search(sweep.folder) if array.process}
    ids = [job.id for job in jobs if job.id not in processes]
    if ids:
        programs.cancel(ids)
    for process in {job.id for job in jobs}.intersection(processes):
        _end_here(processes[process])
    programs.wait_for(ids)


def _end_here(array: Array) -> None:
    """End the process that starts workers on this machine, then the workers."""
    until = time.monotonic() + programs.PATIENCE_S
    for module in ("launch.cluster.local", array.program):
        while processes := list(_processes(array, module)):
            for process in processes:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGTERM)
            if time.monotonic() > until:
                raise UserError(f"process {processes[0]} of {array.name} does not end; end it, then run this again")
            time.sleep(programs.POLL_S)


def _processes(array: Array, module: str) -> Iterator[int]:
    """The processes of this user that run this module on the array's file."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().split(b"\0")
            ours = any(word.endswith(os.fsencode(f"/{array.name}.json")) for word in words)
            if ours and module.encode() in words and file.stat().st_uid == os.getuid():
                yield int(file.parent.name)


def of_workers(folders: Sequence[RunDir]) -> list[RunDir]:
    """Those of these runs, of one sweep, that a worker has claimed."""
    names = {array.name for folder in folders[:1] for array in Array.of_search(folder.path.parent)}
    return [folder for folder in folders if folder.state().job_name in names]


def take_away(folders: Sequence[RunDir], found: Mapping[str, Found], reason: str) -> None:
    """Cancel runs that workers train, and wait until they have let go of them: the workers go on with others.

    Raises `UserError` if one does not.
    """
    until = time.monotonic() + programs.PATIENCE_S
    held = list(folders)
    while held := [folder for folder in held if not _is_over(folder)]:
        for folder in held:  # again and again: the worker may be writing its own state
            if folder.state().state != State.CANCELLED:
                note_state(folder, State.CANCELLED, reason, cancelled=time.time())
        time.sleep(programs.POLL_S)
        sweep = SweepDir(held[0].path.parent)
        jobs = {job.id for job in living(sweep) if _is_running(job)}
        held = [folder for folder in held if folder.state().job_name and _job_of(folder, found) in jobs]
        if held and time.monotonic() > until:
            raise UserError(f"{held[0].path} is still being trained; run this again in a while")
    for folder in folders:
        if not _is_over(folder):
            note_state(folder, State.CANCELLED, reason, cancelled=time.time())


def _is_over(folder: RunDir) -> bool:
    return folder.state().state in ENDED_WELL


def _job_of(folder: RunDir, found: Mapping[str, Found]) -> str:
    array = Array.read(Array.file(folder.path.parent, str(folder.state().job_name)))
    return array.process or found[folder.name].job
