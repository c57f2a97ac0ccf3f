"""Asking SLURM about jobs: one squeue and, for those that it no longer has, one sacct, for any number of jobs.

Jobs are known by their name, which holds a random token, and their place in the array: ids are used again.
"""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from artnet.rundir import read_json, write_json

TIMEOUT_S = 60
ASK_EVERY_S = 30  # what status shows of SLURM is at most so old
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
         "TIMEOUT")  # fmt: skip

# Fixed widths: a name or a reason may hold any separator.
QUEUE_COLUMNS = {"JobArrayID": 60, "State": 20, "NodeList": 200, "Reason": 60, "TimeLeft": 16, "exit_code": 12,
                 "Name": 200}  # fmt: skip

Place = tuple[str, int]  # a job's name, and its place in the array


class SchedulerSilentError(Exception):
    """SLURM did not answer. What it would have said is unknown: not good, not bad."""


@dataclass(frozen=True)
class Job:
    """What SLURM says of one job: its id as in `123_4`, its word for the state, and as text what is known besides."""

    id: str
    word: str
    node: str = ""
    reason: str = ""
    left: str = ""
    exit_code: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether SLURM is done with it."""
        return self.word.partition(" ")[0] in ENDED


@dataclass(frozen=True)
class Answer:
    """The jobs that SLURM knows, and what it had to complain about.

    Without `queue_known` nothing is known of any job; without `history_known` nothing of jobs that have left the queue.
    """

    jobs: dict[Place, Job]
    trouble: str = ""
    queue_known: bool = True
    history_known: bool = True


def ask(names: Collection[str], places: Collection[Place], since: datetime) -> Answer:
    """Ask about `places` of the arrays called `names`, submitted after `since`."""
    if not names:
        return Answer({})
    columns = ",".join(f"{column}:{width}" for column, width in QUEUE_COLUMNS.items())
    try:
        queue = run("squeue", "--noheader", "--array", "--states=all", f"--name={','.join(names)}",
                     f"--Format={columns}")  # fmt: skip
    except SchedulerSilentError as error:
        return Answer({}, str(error), queue_known=False, history_known=False)
    jobs = read_queue(queue)
    if all(place in jobs and not jobs[place].has_ended for place in places):
        return Answer(jobs)
    try:
        start = (since - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
        history = run("sacct", "--noheader", "--parsable2", "--allocations", "--duplicates", "--allusers",
                      f"--starttime={start}", f"--name={','.join(names)}",
                      "--format=JobID,State,NodeList,Reason,ExitCode,JobName")  # fmt: skip
    except SchedulerSilentError as error:
        if "accounting storage is disabled" in str(error):  # this cluster keeps none: the queue is all there is
            return Answer(jobs)
        return Answer(jobs, str(error), history_known=False)
    for place, job in read_history(history).items():
        # Accounting is seconds behind: what it takes for running may have ended for the queue.
        if place not in jobs or (jobs[place].has_ended and job.has_ended):
            jobs[place] = job
    return Answer(jobs)


def ask_again(folder: Path, names: Collection[str], places: Collection[Place], since: datetime) -> Answer:
    """The same, but an answer of the last 30 s about these names, kept in `folder`, is good enough."""
    file = folder / "answer.json"
    kept = read_json(file)
    with contextlib.suppress(KeyError, TypeError, ValueError):
        if 0 <= time.time() - kept["asked"] < ASK_EVERY_S and set(names) <= set(kept["names"]):
            return _from_json(kept)
    answer = ask(names, places, since)
    remember(folder, names, answer)
    return answer


def remember(folder: Path, names: Collection[str], answer: Answer) -> None:
    """Keep an answer for `ask_again`."""
    jobs = [[*place, asdict(job)] for place, job in answer.jobs.items()]
    with contextlib.suppress(OSError):  # on a full disk people want to know where their runs are, too
        write_json(folder / "answer.json", {**vars(answer), "asked": time.time(), "names": sorted(names), "jobs": jobs})


def forget(folder: Path) -> None:
    """Let `ask_again` ask: something was done to the jobs."""
    (folder / "answer.json").unlink(missing_ok=True)


def _from_json(kept: dict[str, Any]) -> Answer:
    jobs = {(name, place): Job(**{key: str(value) for key, value in job.items()}) for name, place, job in kept["jobs"]}
    return Answer(jobs, kept["trouble"], kept["queue_known"], kept["history_known"])


def read_queue(text: str) -> dict[Place, Job]:
    """What squeue printed: a line per element of an array."""
    jobs: dict[Place, Job] = {}
    for line in text.splitlines():
        cells, at = [], 0
        for width in QUEUE_COLUMNS.values():
            cells.append(line[at : at + width].strip())
            at += width
        number, word, node, reason, left, status, name = cells
        with contextlib.suppress(ValueError):
            exit_code = f"{int(status) >> 8}:{int(status) & 127}"  # squeue has it as wait() does
            job = Job(number, word, node, _known(reason), _known(left), exit_code)
            jobs.update(_placed(name, job))
    return jobs


def read_history(text: str) -> dict[Place, Job]:
    """What sacct printed: a line for each time that a job was in the queue, the last one counts."""
    jobs: dict[Place, Job] = {}
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            number, word, node, reason, exit_code, name = line.split("|", 5)
            job = Job(number, word, _known(node), _known(reason), "", exit_code)
            jobs.update(_placed(name, job))
    return jobs


def _placed(name: str, job: Job) -> Iterator[tuple[Place, Job]]:
    """A line's job by place: `12_3`, `12` alone, or `12_[0-2,7%4]` for elements that have not started."""
    array, _, elements = job.id.partition("_")
    for number in read_elements(elements):
        yield (name, number), Job(**{**vars(job), "id": f"{array}_{number}" if elements else array})


def read_elements(text: str) -> list[int]:
    """`3`, `[0-2,7%4]` or `[0-8:2]` as numbers; nothing means the only one, 0. Raises ValueError."""
    found: list[int] = []
    for part in text.strip("[]").partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part or "0")
        if not match:
            raise ValueError(f"{text!r} names no elements of an array")
        found += range(int(match[1]), int(match[2] or match[1]) + 1, int(match[3] or 1))
    return found


def max_array_size() -> int:
    """One more than the highest index of an array that the cluster takes; 0 if it takes none.

    Raises `SchedulerSilentError`.
    """
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", run("scontrol", "show", "config"), re.MULTILINE)
    return int(match[1]) if match else 1001  # SLURM's default


@dataclass(frozen=True)
class Stop:
    """Why SLURM has signalled a job, `cancelled`, `preempted`, `timed out`, or `told to stop` if that was none of its
    doing; and whether SLURM has put the job back into the queue already.
    """

    why: str
    in_queue: bool = False


def why_stopped(job: str, restarts: int, seconds_before_limit: float) -> Stop:
    """Why SLURM has signalled this job, from inside it. Raises `SchedulerSilentError`."""
    return read_stop(run("scontrol", "--oneliner", "show", "job", job), restarts, seconds_before_limit)


def read_stop(text: str, restarts: int, seconds_before_limit: float) -> Stop:
    """The same from what scontrol printed."""
    fields = dict(re.findall(r"(\w+)=(\S*)", text))
    if int(fields.get("Restarts", restarts)) > restarts:
        return Stop("preempted", in_queue=True)
    if fields.get("JobState") != "RUNNING":  # COMPLETING, as all that is being killed
        return Stop("cancelled")
    if _known(fields.get("PreemptTime", "")):
        return Stop("preempted")
    try:
        left = (datetime.fromisoformat(fields["EndTime"]) - datetime.now()).total_seconds()
    except (KeyError, ValueError):
        return Stop("told to stop")
    return Stop("timed out" if left < seconds_before_limit else "told to stop")


def requeue(job: str) -> None:
    """Put this job, of an array this element alone, back into the queue. Raises `SchedulerSilentError`."""
    run("scontrol", "requeue", job)


def process(number: str, folder: Path) -> Job | None:
    """A job of submitit's local executor, if its process still runs: numbers of processes are used again."""
    try:
        command = Path("/proc", number, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    # With lines of `setup` the program is a shell, and the folder a part of what it is to run.
    return Job(number, "RUNNING") if any(os.fsencode(folder.absolute()) in word for word in command) else None


def _known(text: str) -> str:
    return "" if text in ("None", "N/A", "Unknown", "INVALID", "None assigned", "(null)") else text


def environment() -> dict[str, str]:
    """The environment without the user's own defaults for SLURM's programs: they are asked for what they are asked."""
    own = ("SQUEUE_", "SACCT_", "SCONTROL_", "SCANCEL_", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {**kept, "SLURM_BITSTR_LEN": "0"}  # else squeue and sacct cut long lists of elements short


def run(*command: str) -> str:
    """What one of SLURM's programs prints. Raises `SchedulerSilentError` if it ends badly or not within a minute."""
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, env=environment(), errors="replace"
        )
    except subprocess.CalledProcessError as error:
        words = " ".join((error.stderr or error.stdout).split()) or f"ended with exit code {error.returncode}"
        raise SchedulerSilentError(f"{command[0]}: {words}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchedulerSilentError(f"{command[0]}: {error}") from error
    return answer.stdout
