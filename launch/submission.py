"""Jobs of a sweep in SLURM: finding those that are there, submitting those that are missing."""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError

import artnet
from artnet.provenance import now
from artnet.rundir import RunDir
from shards.errors import UserError

from . import cli, plan, rundir, scheduler, task
from .executor import LocalArrayExecutor, SlurmArrayExecutor
from .grid import Run
from .job_array import Array
from .resources import Resources, SlurmBlock
from .states import LIVE, State, after_exit, from_slurm

SIGNAL_BEFORE_S = 120  # between the signal to stop and the end of the time limit
THREADS = 16  # that write small files: each waits for the disk most of the time
# What sbatch says when it does not know whether the controller has the job.
UNDECIDED = ("timed out", "Communication connection failure", "Zero Bytes were transmitted")
# srun's last words in a job that was given a node before SLURM was done with what had run there.
NO_STEP = re.compile(r"srun: error: Unable to create step .*: Job/step already completing or completed")

REPORT_MINUTES = 10
REPORT_KEYS = ("partition", "account", "qos", "setup")  # of the runs' resources, what their report needs too

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
        if recorded.get("cluster", "slurm") != "slurm":
            job = scheduler.process(str(recorded.get("job")), sweep.folder / "slurm")
            found[name] = judge(folder.path, job, scheduler.Answer({}))
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
        if outcome.startswith("failed"):
            return plan.Found(*after_exit(1, outcome, ""))
        return plan.Found(State.INTERRUPTED, outcome or "SLURM knows its job no more")
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
    said = rundir.last_lines(path.parent / "slurm" / f"{job.id}.log") if state is State.FAILED else []
    if said and NO_STEP.match(said[-1]):
        return plan.Found(State.INTERRUPTED, f"{where}: {said[-1]}")
    lines = (re.sub(r"^\d+: ", "", line) for line in said)  # srun labels the lines of tasks
    words = [line.removeprefix("error: ") for line in lines if not line.startswith(("srun: ", "slurmstepd"))]
    return plan.Found(state, ", ".join([f"{where}: {job.word}{code}", *words[-1:]]))


def submit(
    sweep: rundir.Sweep,
    block: SlurmBlock,
    wanted: Mapping[str, Resources],
    decisions: Sequence[plan.Decision],
    code: Path | None = None,
    cluster: str = "slurm",
) -> int:
    """Submit what the plan says, in arrays per kind of resources, and a job that makes the page when they have ended.

    The jobs run the `code` in this folder, by default that which runs now. `cluster` may also be `local`, processes of
    this machine, or `debug`, this process, for both of which submitit plays SLURM's part. Returns the number of jobs.
    Raises `UserError` with SLURM's words if it refuses.
    """
    code = code or Path(artnet.__file__).parents[1]
    chosen = plan.to_start(decisions)
    if not chosen:
        return 0
    groups: dict[Resources, list[plan.Decision]] = {}
    for decision in chosen:
        groups.setdefault(wanted[decision.run.config.name], []).append(decision)
    try:
        largest = scheduler.max_array_size() if cluster == "slurm" else 0
    except scheduler.SchedulerSilentError as error:
        raise UserError(f"SLURM does not answer ({error}); nothing was submitted, try again when it does") from None
    numbers = []
    for resources, group in groups.items():
        if cluster != "slurm":
            _start_here(sweep, block, resources, group, code, cluster)
            continue
        chunks = split(group, largest)
        # The cluster holds back the jobs of each array by themselves.
        parallel = max(1, block.max_parallel // len(chunks))
        numbers += [_submit_array(sweep, block, resources, chunk, parallel, largest, code) for chunk in chunks]
    if numbers:
        _submit_report(sweep, next(iter(groups)), numbers, code)
    return len(chosen)


def split(items: Sequence[Item], largest: int) -> list[Sequence[Item]]:
    """The items in as few parts of nearly one size as there may be, none of more than `largest`."""
    parts = -(-len(items) // max(1, largest))
    bounds = [len(items) * part // parts for part in range(parts + 1)]
    return [items[first:last] for first, last in itertools.pairwise(bounds)]


def _make_array(
    sweep: rundir.Sweep, block: SlurmBlock, resources: Resources, group: Sequence[plan.Decision], cluster: str
) -> tuple[Array, Path]:
    """Write an array's file and mark its runs as being submitted."""
    folders = [sweep.run(decision.run) for decision in group]
    array = Array(
        name=Array.new_name(sweep.folder),
        submitted=now(),
        runs=[folder.name for folder in folders],
        attempts=[rundir.next_attempt(folder) for folder in folders],
        minutes=resources.time,
        signal_s=min(SIGNAL_BEFORE_S, resources.time * 30),
        requeue=block.requeue,
    )

    def mark(place: int) -> None:
        where: dict[str, Any] = {"job": None, "job_name": array.name, "position": place, "cluster": cluster}
        rundir.note_state(folders[place], State.SUBMITTING, launcher="slurm", submitted=array.submitted, **where)

    file = array.write(sweep.folder)
    _in_threads(mark, range(len(group)))
    return array, file


def _submit_array(
    sweep: rundir.Sweep,
    block: SlurmBlock,
    resources: Resources,
    group: Sequence[plan.Decision],
    parallel: int,
    largest: int,
    code: Path,
) -> str:
    array, file = _make_array(sweep, block, resources, group, "slurm")
    executor = SlurmArrayExecutor(sweep.folder / "slurm")
    executor.update_parameters(
        job_name=array.name, array_parallelism=parallel, signal_delay_s=array.signal_s, **resources.parameters()
    )

    def unmark(place: int) -> None:
        rundir.note_state(sweep.run(group[place].run), group[place].state, group[place].reason)

    try:
        number = executor.submit_runs(file, len(group) if largest else 0, code)
    except (FailedJobError, FailedSubmissionError) as error:
        said = " ".join(str(error).split())
        if any(words in said for words in UNDECIDED):
            raise UserError(
                f"SLURM did not say whether it has the jobs ({said}); run this again to see, nothing is submitted twice"
            ) from None
        _in_threads(unmark, range(len(group)))
        file.unlink()
        raise UserError(f"SLURM refused the jobs: {said}") from None
    _note_jobs(sweep, group, [f"{number}_{place}" if largest else number for place in range(len(group))])
    return number


def _start_here(
    sweep: rundir.Sweep,
    block: SlurmBlock,
    resources: Resources,
    group: Sequence[plan.Decision],
    code: Path,
    cluster: str,
) -> None:
    array, file = _make_array(sweep, block, resources, group, cluster)
    if cluster == "debug":
        executor = submitit.DebugExecutor(sweep.folder / "slurm")
        for place in range(len(group)):
            executor.submit(task.main, [str(file), str(place)]).result()
        return
    local = LocalArrayExecutor(sweep.folder / "slurm", max_num_timeout=block.requeue)
    local.update_parameters(
        timeout_min=resources.time,
        tasks_per_node=resources.parameters()["ntasks_per_node"],
        gpus_per_node=resources.gpus_per_node,
        signal_delay_s=array.signal_s,
        stderr_to_stdout=True,
        setup=list(resources.setup),
    )
    _note_jobs(sweep, group, local.submit_runs(file, len(group), code))


def _note_jobs(sweep: rundir.Sweep, group: Sequence[plan.Decision], numbers: Sequence[str]) -> None:
    def note(place: int) -> None:
        folder = sweep.run(group[place].run)
        if folder.state().get("state") == State.SUBMITTING:  # else the job was faster
            rundir.note_state(folder, State.PENDING, f"job {numbers[place]}", job=numbers[place])

    _in_threads(note, range(len(group)))


def _submit_report(sweep: rundir.Sweep, resources: Resources, numbers: Sequence[str], code: Path) -> None:
    """A small job for when all others have ended, however they did. The runs do not depend on it: it may be refused."""
    executor = SlurmArrayExecutor(sweep.folder / "slurm")
    wanted = {key: value for key, value in resources.parameters().items() if key in REPORT_KEYS}
    executor.update_parameters(
        job_name=f"artnet-{sweep.folder.name}-report", time=REPORT_MINUTES, signal_delay_s=0,
        dependency=f"afterany:{':'.join(numbers)}", **wanted,
    )  # fmt: skip
    try:
        executor.submit_report(sweep.folder, code)
    except (FailedJobError, FailedSubmissionError) as error:
        cli.say(f"warning: SLURM refused the job that would make the page ({' '.join(str(error).split())})")


def _in_threads(work: Callable[[int], None], items: Iterable[int]) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(work, items):
            pass
