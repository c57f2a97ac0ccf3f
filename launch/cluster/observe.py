"""How runs that have jobs in SLURM are found: by what their folders hold, and what SLURM says of the jobs."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from artnet.rundir import RunDir
from shards.files import is_locked

from ..grid import Run
from ..sweep import folder as rundir
from ..sweep import plan
from ..sweep.state import LIVE, State, after_exit, from_slurm
from . import queue as scheduler

# SLURM holds a job that it has requeued `max_batch_requeue` times (default: 5) until somebody releases it. A new job
# may take the run over: the held one has nothing to do any more.
HELD = "JobHoldMaxRequeue"

# srun's last words in a job that was given a node before SLURM was done with what had run there.
NO_STEP = re.compile(r"srun: error: Unable to create step .*: Job/step already completing or completed")


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
        if not _is_unsettled(folder, run):
            found[name] = rundir.find_run(folder, run.config.signature)
            continue
        if recorded.get("cluster", "slurm") != "slurm":
            job = scheduler.process(str(recorded.get("job")), sweep.folder / "slurm")
            found[name] = judge(folder, recorded, job, scheduler.Answer({}))
            continue
        position = recorded.get("position")
        asked[name] = (str(recorded["job_name"]), position if isinstance(position, int) else 0)
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
    being_submitted = not fresh and is_locked(sweep.lock)
    for run in runs:
        name, folder = run.config.name, sweep.run(run)
        if name not in asked:
            continue
        recorded = folder.state()
        if not _is_unsettled(folder, run):  # it has ended since
            found[name] = rundir.find_run(folder, run.config.signature)
        elif being_submitted and name not in jobs and recorded["state"] == State.SUBMITTING:
            found[name] = plan.Found(State.SUBMITTING, "a launcher is at work")
        else:
            found[name] = judge(folder, recorded, jobs.get(name), answer)
    return Seen(found, jobs, answer.trouble, answer.queue_known)


def _is_unsettled(folder: RunDir, run: Run) -> bool:
    """Whether there is or was a job about which the folder has not the last word."""
    recorded = folder.state()
    lives = recorded.get("launcher") == "slurm" and recorded.get("state") in {*LIVE, State.INTERRUPTED}
    return lives and "job_name" in recorded and folder.result(run.config.signature) is None


def judge(
    folder: RunDir, recorded: Mapping[str, Any], job: scheduler.Job | None, answer: scheduler.Answer
) -> plan.Found:
    """How a run without a result is found, from what is `recorded` of it and what SLURM says of its job."""
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
        if own.state is State.PENDING:
            return plan.Found(State.FAILED, "its job has left the queue without a word")
        outcome = rundir.last_outcome(folder, 0)
        if outcome.startswith("failed"):
            return plan.Found(*after_exit(1, outcome, ""))
        return plan.Found(State.INTERRUPTED, outcome or "SLURM knows its job no more")
    state = from_slurm(job.word, job.exit_code)
    where = f"job {job.id}" + (f" on {job.node}" if job.node else "")
    if job.reason == HELD:
        return plan.Found(State.INTERRUPTED, f"{where} is held: SLURM requeues a job no more often")
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
    said = rundir.last_lines(folder.path.parent / "slurm" / f"{job.id}.log") if state is State.FAILED else []
    if said and NO_STEP.match(said[-1]):
        return plan.Found(State.INTERRUPTED, f"{where}: {said[-1]}")
    lines = (re.sub(r"^\d+: ", "", line) for line in said)  # srun labels the lines of tasks
    words = [line.removeprefix("error: ") for line in lines if not line.startswith(("srun: ", "slurmstepd"))]
    return plan.Found(state, ", ".join([f"{where}: {job.word}{code}", *words[-1:]]))
