"""Query SLURM about any number of jobs: one squeue and, for jobs that have left the queue, one sacct.

Jobs are identified by their name, which contains a random token, and their place in the array: ids are reused.
"""

import contextlib
import re
import signal
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from artnet.rundir import EXIT_STOPPED, read_json, write_json

from ..sweep.state import FROM_OUTSIDE, State
from .programs import SchedulerError, run

ASK_EVERY_S = 30  # the largest age of the cached answer that status shows
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
         "TIMEOUT")  # fmt: skip

# Fixed widths: names and reasons may contain any separator.
QUEUE_COLUMNS = {"JobArrayID": 60, "State": 20, "NodeList": 200, "Reason": 60, "TimeLeft": 16, "exit_code": 12,
                 "Name": 200}  # fmt: skip

_SRUN_SIGNALS = FROM_OUTSIDE - {signal.SIGHUP, signal.SIGINT}  # 1 and 2 are exit codes of training

_SLURM = {
    "PENDING": State.PENDING,
    "CONFIGURING": State.PENDING,
    "POWER_UP_NODE": State.PENDING,
    "RESV_DEL_HOLD": State.PENDING,
    "REQUEUED": State.REQUEUED,
    "REQUEUE_FED": State.REQUEUED,
    "REQUEUE_HOLD": State.REQUEUED,
    "SPECIAL_EXIT": State.REQUEUED,
    "RUNNING": State.RUNNING,
    "COMPLETING": State.RUNNING,
    "STAGE_OUT": State.RUNNING,
    "SIGNALING": State.RUNNING,
    "RESIZING": State.RUNNING,
    "EXPEDITING": State.PENDING,
    "UPDATE_DB": State.RUNNING,
    "STOPPED": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "PREEMPTED": State.INTERRUPTED,
    "CANCELLED": State.CANCELLED,
    "REVOKED": State.CANCELLED,
    "FAILED": State.FAILED,
    "BOOT_FAIL": State.NODE_FAILED,
    "NODE_FAIL": State.NODE_FAILED,
    "LAUNCH_FAILED": State.NODE_FAILED,
    "RECONFIG_FAIL": State.NODE_FAILED,
    "OUT_OF_MEMORY": State.OUT_OF_MEMORY,
    "DEADLINE": State.TIMED_OUT,
    "TIMEOUT": State.TIMED_OUT,
    "COMPLETED": State.FAILED,  # exit code 0, but jobs are queried only if there is no valid result
}

Place = tuple[str, int]  # a job's name, and its place in the array


@dataclass(frozen=True)
class QueueEntry:
    """SLURM's entry of one job: its id such as `123_4`, its state in SLURM's word, and other fields as text."""

    id: str
    word: str
    node: str = ""
    reason: str = ""
    left: str = ""
    exit_code: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended."""
        return self.word.partition(" ")[0] in ENDED


@dataclass(frozen=True)
class Answer:
    """The jobs that SLURM knows, and its error message, if any.

    Unless `queue_known`, nothing is known about any job; unless `history_known`, about jobs that have left the queue.
    `age_s` is the age of an answer that was cached, 0 for a new one.
    """

    jobs: dict[Place, QueueEntry]
    trouble: str = ""
    queue_known: bool = True
    history_known: bool = True
    age_s: float = field(default=0.0, compare=False)


def ask(names: Collection[str], places: Collection[Place], since: datetime) -> Answer:
    """Query the jobs at `places` of the arrays with these `names`, submitted after `since`."""
    if not names:
        return Answer({})
    columns = ",".join(f"{column}:{width}" for column, width in QUEUE_COLUMNS.items())
    try:
        queue = run("squeue", "--noheader", "--array", "--states=all", f"--name={','.join(names)}",
                     f"--Format={columns}")  # fmt: skip
    except SchedulerError as error:
        return Answer({}, str(error), queue_known=False, history_known=False)
    jobs = read_queue(queue)
    if all(place in jobs and not jobs[place].has_ended for place in places):
        return Answer(jobs)
    try:
        start = (since - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
        history = run("sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", "--allusers",
                      f"--starttime={start}", f"--name={','.join(names)}",
                      "--format=JobID,State,NodeList,Reason,ExitCode,JobName")  # fmt: skip
    except SchedulerError as error:
        if "accounting storage is disabled" in str(error):  # there is no history: the queue has to do
            return Answer(jobs)
        return Answer(jobs, str(error), history_known=False)
    for place, job in read_history(history).items():
        # Accounting lags by seconds: a job that has ended in the queue may still be running there.
        if place not in jobs or (jobs[place].has_ended and job.has_ended):
            jobs[place] = job
    return Answer(jobs)


def ask_again(folder: Path, names: Collection[str], places: Collection[Place], since: datetime) -> Answer:
    """Like `ask`, but accept an answer about these names that was cached in `folder` within the last 30 s."""
    file = folder / "answer.json"
    kept = read_json(file)
    with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError, AttributeError):
        age_s = time.time() - kept["asked"]
        if 0 <= age_s < ASK_EVERY_S and set(names) <= set(kept["names"]):
            return _from_json(kept, age_s)
    answer = ask(names, places, since)
    remember(folder, names, answer)
    return answer


def remember(folder: Path, names: Collection[str], answer: Answer) -> None:
    """Cache an answer for `ask_again`."""
    jobs = [[*place, asdict(job)] for place, job in answer.jobs.items()]
    with contextlib.suppress(OSError):  # status must work on a full disk too
        write_json(folder / "answer.json", {**vars(answer), "asked": time.time(), "names": sorted(names), "jobs": jobs})


def forget(folder: Path) -> None:
    """Remove the cached answer, after jobs were submitted or cancelled."""
    (folder / "answer.json").unlink(missing_ok=True)


def _from_json(kept: dict[str, Any], age_s: float) -> Answer:
    jobs = {
        (name, place): QueueEntry(**{key: str(value) for key, value in job.items()})
        for name, place, job in kept["jobs"]
    }
    return Answer(jobs, kept["trouble"], kept["queue_known"], kept["history_known"], age_s)


def read_queue(text: str) -> dict[Place, QueueEntry]:
    """Parse the output of squeue: one line per element of an array."""
    jobs: dict[Place, QueueEntry] = {}
    for line in text.splitlines():
        cells, at = [], 0
        for width in QUEUE_COLUMNS.values():
            cells.append(line[at : at + width].strip())
            at += width
        number, word, node, reason, left, status, name = cells
        with contextlib.suppress(ValueError):
            exit_code = f"{int(status) >> 8}:{int(status) & 127}"  # squeue prints the status of wait()
            job = QueueEntry(number, word, node, known(reason), known(left), exit_code)
            jobs.update(_placed(name, job))
    return jobs


def read_history(text: str) -> dict[Place, QueueEntry]:
    """Parse the output of sacct: one line for each time that a job was in the queue, of which the last counts."""
    jobs: dict[Place, QueueEntry] = {}
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            number, word, node, reason, exit_code, name = line.split("|", 5)
            job = QueueEntry(number, word, known(node), known(reason), "", exit_code)
            jobs.update(_placed(name, job))
    return jobs


def _placed(name: str, job: QueueEntry) -> Iterator[tuple[Place, QueueEntry]]:
    """The job of a line by place. Its id is `12_3`, `12`, or `12_[0-2,7%4]` for elements that have not started."""
    array, _, elements = job.id.partition("_")
    for number in read_elements(elements):
        yield (name, number), QueueEntry(**{**vars(job), "id": f"{array}_{number}" if elements else array})


def read_elements(text: str) -> list[int]:
    """Parse `3`, `[0-2,7%4]` or `[0-8:2]` as numbers; an empty text means 0. Raises `ValueError`."""
    found: list[int] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part or "0")
        if not match:
            raise ValueError(f"{text!r} names no elements of an array")
        found += range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
    return found


def known(text: str) -> str:
    """The text; empty if it is one of SLURM's words for an unknown value."""
    return "" if text in ("None", "N/A", "Unknown", "INVALID", "None assigned", "(null)") else text


def from_slurm(word: str, exit_code: str = "") -> State:
    """The state of a run without a result, from SLURM's word for the state of its job (as in `CANCELLED by 1000`).

    `exit_code` is `CODE:SIGNAL`, as in sacct: a job that was killed from outside has not failed. Words that are not
    in the table map to unknown, not to failed.
    """
    state = _SLURM.get(word.partition(" ")[0].rstrip("+"), State.UNKNOWN)
    code, _, number = exit_code.partition(":")
    if state is State.FAILED and code.isdecimal() and number.isdecimal():
        # For a killed task, some versions of srun report 128 + SIGNAL, others SIGNAL.
        killed_by = int(number) or int(code) - 128
        if killed_by in FROM_OUTSIDE or int(code) in _SRUN_SIGNALS or int(code) == EXIT_STOPPED:
            return State.INTERRUPTED
    return state
