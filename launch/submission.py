"""Jobs of a sweep in SLURM: finding those that are there, submitting those that are missing."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from submitit.core.utils import FailedJobError, FailedSubmissionError

import artnet
from artnet.rundir import RunDir
from shards.errors import UserError

from . import plan, rundir, scheduler
from .executor import SlurmArrayExecutor
from .grid import Run
from .job_array import Array, now
from .resources import Resources, SlurmBlock
from .states import LIVE, State, from_slurm

SIGNAL_BEFORE_S = 120  # between the signal to stop and the end of the time limit
THREADS = 16  # that write small files: each waits for the disk most of the time
# What sbatch says when it does not know whether the controller has the job.
UNDECIDED = ("timed out", "Communication connection failure", "Zero Bytes were transmitted")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Seen:
    """How runs are found, by their names; the jobs of those that have one in SLURM; and SLURM's complaint, if any.

    Where `queue_known` is false SLURM could not be asked at all, and nothing may be submitted.
    """

    found: dict[str, plan.Found]
    jobs: dict[str, scheduler.Job]
    trouble: str
    queue_known: bool


def look(sweep: rundir.Sweep, runs: Sequence[Run], fresh: bool = False) -> Seen:
    """How each run is found: by its folder if that says it all, by asking SLURM if a job is or was there.

    Unless `fresh`, what SLURM said within the last 30 s is good enough. Writes nothing about runs.
    """
    found: dict[str, plan.Found] = {}
    asked: dict[str, scheduler.Place] = {}
    since = datetime.now()
    for run in runs:
        name, folder = run.config.name, sweep.run(run)
        recorded = folder.state()
        is_job = recorded.get("launcher") == "slurm" and recorded.get("state") in LIVE | {State.INTERRUPTED}
        if not is_job or "job_name" not in recorded or folder.result(run.config.signature):
            found[name] = rundir.find_run(folder, run.config.signature)
            continue
        asked[name] = (str(recorded["job_name"]), int(recorded.get("position", 0)))
        with contextlib.suppress(KeyError, TypeError, ValueError):
            since = min(since, datetime.fromisoformat(recorded["submitted"]).astimezone().replace(tzinfo=None))
    names = {name for name, _ in asked.values()}
    if fresh:
        answer = scheduler.ask(names, asked.values(), since)
        if names:
            scheduler.remember(sweep.folder / "slurm", names, answer)
    else:
        answer = scheduler.ask_again(sweep.folder / "slurm", names, asked.values(), since)
    jobs = {name: answer.jobs[place] for name, place in asked.items() if place in answer.jobs}
    for name in asked:
        found[name] = judge(sweep.folder / name, jobs.get(name), answer)
    return Seen(found, jobs, answer.trouble, answer.queue_known)


def judge(path: Path, job: scheduler.Job | None, answer: scheduler.Answer) -> plan.Found:
    """How the run in a folder without a result is found, from what it holds and what SLURM says of its job."""
    folder = RunDir(path)
    recorded = folder.state()
    own = plan.Found(State(recorded["state"]), str(recorded.get("reason", "")))  # as the job or a launcher noted it
    if not answer.queue_known:
        return plan.Found(State.UNKNOWN, "SLURM does not answer")
    if job is None:
        if own.state is State.INTERRUPTED:
            return own
        if not answer.history_known:
            return plan.Found(State.UNKNOWN, "its job has left the queue, and accounting does not answer")
        if own.state is State.SUBMITTING:
            return plan.Found(State.PLANNED, "its job never reached SLURM")
        outcome = rundir.last_outcome(folder, 0)
        state = State.FAILED if outcome.startswith("failed") else State.INTERRUPTED
        return plan.Found(state, outcome or "SLURM knows its job no more")
    state = from_slurm(job.word, job.exit_code)
    where = f"job {job.id}" + (f" on {job.node}" if job.node else "")
    if not job.has_ended:
        why = own.reason if own.state is State.REQUEUED else job.reason
        return plan.Found(state, where + (f": {why}" if why else ""))
    if state in (State.FAILED, State.INTERRUPTED) and own.state is State.INTERRUPTED:
        return own
    if job.word == "COMPLETED" and rundir.last_outcome(folder, 0) == "stopped":
        return plan.Found(State.INTERRUPTED, "stopped on request")
    if job.word == "COMPLETED":
        return plan.Found(state, f"{where} ended well, but left no valid result.json")
    code = f" (exit code {job.exit_code})" if state in (State.FAILED, State.INTERRUPTED) else ""
    return plan.Found(state, f"{where}: {job.word}{code}")


def submit(
    sweep: rundir.Sweep,
    block: SlurmBlock,
    wanted: Mapping[str, Resources],
    decisions: Sequence[plan.Decision],
    code: Path | None = None,
) -> int:
    """Submit what the plan says, in arrays per kind of resources. Returns the number of jobs.

    The jobs run the `code` in this folder, by default that which runs now. Raises `UserError` with SLURM's words if
    it refuses.
    """
    chosen = plan.to_start(decisions)
    if not chosen:
        return 0
    groups: dict[Resources, list[plan.Decision]] = {}
    for decision in chosen:
        groups.setdefault(wanted[decision.run.config.name], []).append(decision)
    try:
        largest = scheduler.max_array_size()
    except scheduler.SchedulerSilentError as error:
        raise UserError(f"SLURM does not answer ({error}); nothing was submitted, try again when it does") from None
    for resources, group in groups.items():
        chunks = split(group, largest)
        # The cluster holds back the jobs of each array by themselves.
        parallel = max(1, block.max_parallel // len(chunks))
        for chunk in chunks:
            _submit_array(sweep, block, resources, chunk, parallel, largest, code or Path(artnet.__file__).parents[1])
    return len(chosen)


def split(items: Sequence[Item], largest: int) -> list[Sequence[Item]]:
    """The items in as few parts of nearly one size as there may be, none of more than `largest`."""
    parts = -(-len(items) // max(1, largest))
    bounds = [len(items) * part // parts for part in range(parts + 1)]
    return [items[first:last] for first, last in itertools.pairwise(bounds)]


def _submit_array(
    sweep: rundir.Sweep,
    block: SlurmBlock,
    resources: Resources,
    group: Sequence[plan.Decision],
    parallel: int,
    largest: int,
    code: Path,
) -> None:
    folders = [sweep.run(decision.run) for decision in group]
    signal_s = min(SIGNAL_BEFORE_S, resources.time * 30)
    array = Array(
        name=Array.new_name(sweep.folder),
        submitted=now(),
        runs=[folder.name for folder in folders],
        attempts=[rundir.next_attempt(folder) for folder in folders],
        minutes=resources.time,
        signal_s=signal_s,
        requeue=block.requeue,
    )
    file = array.write(sweep.folder)
    executor = SlurmArrayExecutor(sweep.folder / "slurm")
    executor.update_parameters(
        job_name=array.name, array_parallelism=parallel, signal_delay_s=signal_s, **resources.parameters()
    )

    def mark(place: int) -> None:
        place_of: dict[str, Any] = {
            "job": None,
            "job_name": array.name,
            "position": place,
            "submitted": array.submitted,
        }
        rundir.note_state(folders[place], State.SUBMITTING, launcher="slurm", **place_of)

    def unmark(place: int) -> None:
        rundir.note_state(folders[place], group[place].state, group[place].reason)

    def mark_pending(place: int) -> None:
        if folders[place].state().get("state") == State.SUBMITTING:  # else the job was faster
            job = f"{number}_{place}" if largest else number
            rundir.note_state(folders[place], State.PENDING, f"job {job}", job=job)

    _in_threads(mark, range(len(group)))
    try:
        number = executor.submit_file(file, len(group) if largest else 0, code)
    except (FailedJobError, FailedSubmissionError) as error:
        said = " ".join(str(error).split())
        if any(words in said for words in UNDECIDED):
            raise UserError(
                f"SLURM did not say whether it has the jobs ({said}); run this again to see, nothing is submitted twice"
            ) from None
        _in_threads(unmark, range(len(group)))
        file.unlink()
        raise UserError(f"SLURM refused the jobs: {said}") from None
    _in_threads(mark_pending, range(len(group)))


def _in_threads(work: Callable[[int], None], items: Iterable[int]) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(work, items):
            pass
