"""The states of runs with SLURM jobs, from their folders and from what SLURM reports about the jobs."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from artnet.rundir import RunDir, RunState
from shards.errors import UserError
from shards.locks import LockError, is_locked

from ..grid import Run
from ..sweep.attempt import last_lines, last_outcome
from ..sweep.folder import SweepDir, find_run, note_state
from ..sweep.state import LIVE, Found, Observation, State, after_exit
from . import queue
from .job_array import Array
from .queue import QueueEntry, from_slurm
from .reasons import in_words

# SLURM holds a job that it has requeued `max_batch_requeue` times (default: 5) until it is released by hand. A new job
# may take over the run; the held one then ends at once.
HELD = "JobHoldMaxRequeue"

# Why SLURM cancels a job of a grid with `after`.
NEVER = "DependencyNeverSatisfied"

# srun's last line in a job that got a node on which SLURM was still cleaning up the previous one.
NO_STEP = re.compile(r"srun: error: Unable to create step .*: Job/step already completing or completed")


def find(sweep: SweepDir, runs: Sequence[Run], fresh: bool = False, remember: bool = True) -> Observation:
    """Find the state of each run: from its folder if that suffices, from SLURM if it has or had a job.

    Unless `fresh`, an answer of SLURM from the last 30 s is accepted. `remember` keeps a fresh one for that: a node
    whose clock is not to be trusted does not.
    """
    found: dict[str, Found] = {}
    asked: dict[str, queue.Place] = {}
    since = datetime.now()
    for run in runs:
        name, folder = run.config.name, sweep.run(run)
        if not _is_unsettled(folder, run):
            found[name] = find_run(folder, run.config.signature)
            continue
        recorded = folder.state()
        if not Array.is_name(sweep.folder, str(recorded.job_name)):
            found[name] = Found(State.UNKNOWN, f"state.json names a job of something else, {recorded.job_name!r}")
            continue
        if recorded.cluster != "slurm":
            try:
                found[name] = judge_here(folder, recorded)
            except LockError as error:
                found[name] = Found(State.UNKNOWN, str(error))
            continue
        asked[name] = (str(recorded.job_name), recorded.position or 0)
        with contextlib.suppress(TypeError, ValueError):
            since = min(since, datetime.fromisoformat(str(recorded.submitted)).astimezone().replace(tzinfo=None))
    answer = _ask(sweep, asked, since, fresh, remember)
    being_submitted = not fresh and _may_be_locked(sweep.lock)
    for run in runs:
        name, folder = run.config.name, sweep.run(run)
        if name not in asked:
            continue
        recorded, entry = folder.state(), answer.jobs.get(asked[name])
        if not _is_unsettled(folder, run):  # it has ended since
            now = find_run(folder, run.config.signature)
        elif being_submitted and entry is None and recorded.state == State.SUBMITTING:
            now = Found(State.SUBMITTING, "a launcher is at work")
        else:
            now = judge(folder, recorded, entry, answer)
        found[name] = dataclasses.replace(now, job=entry.id, node=entry.node, left=entry.left) if entry else now
    return Observation(found, answer.trouble, not answer.queue_known, answer.age_s)


def _ask(sweep: SweepDir, asked: dict[str, queue.Place], since: datetime, fresh: bool, remember: bool) -> queue.Answer:
    names, folder = {name for name, _ in asked.values()}, sweep.folder / "slurm"
    if not names:
        return queue.Answer({})
    if not fresh:
        return queue.ask_again(folder, names, asked.values(), since)
    answer = queue.ask(names, asked.values(), since)
    if remember:
        queue.remember(folder, names, answer)
    return answer


def note(sweep: SweepDir, runs: Sequence[Run], observed: Observation) -> None:
    """Record the observed states in `state.json`, for the table and the page, which do not query SLURM."""
    for run in runs:
        folder, now = sweep.run(run), observed.found[run.config.name]
        if now.state in (State.PLANNED, State.UNKNOWN, State.UNREADABLE):
            continue
        recorded = folder.state()
        if recorded.state not in {*LIVE, State.INTERRUPTED}:  # the job has recorded its end meanwhile
            continue
        job = {"job": now.job} if now.job else {}
        if (recorded.state, recorded.reason, recorded.job) != (now.state, now.reason, now.job or recorded.job):
            note_state(folder, now.state, now.reason, **job)


def judge_here(folder: RunDir, recorded: RunState) -> Found:
    """The state of a run without a result whose job is a process of this machine."""
    own = Found(State(recorded.state), recorded.reason)
    if folder.is_locked():
        return Found(State.RUNNING, recorded.reason if own.state is State.RUNNING else "")
    if is_running(str(recorded.job), str(recorded.job_name)):
        return own
    if own.state is State.INTERRUPTED:
        return own
    if own.state is State.SUBMITTING:
        return Found(State.PLANNED, "its job never started")
    return _by_outcome(folder, "its process is gone")


def _may_be_locked(lock: Path) -> bool:
    try:
        return is_locked(lock)
    except LockError:
        return True


def is_running(number: str, job_name: str) -> bool:
    """Whether the process with this id runs the job of this name: ids are reused."""
    try:
        command = Path("/proc", number, "cmdline").read_bytes() if number.isdecimal() else b""
    except OSError:
        return False
    return os.fsencode(job_name) in command


def _is_unsettled(folder: RunDir, run: Run) -> bool:
    """Whether the run has or had a job whose end its folder, which can be read, does not show."""
    try:
        recorded, _ = folder.state(), folder.run()
        may_go_on = recorded.launcher == "slurm" and recorded.state in {*LIVE, State.INTERRUPTED}
        is_unsettled = may_go_on and recorded.job_name is not None and folder.result(run.config.signature) is None
        return is_unsettled and folder.unreadable() is None
    except UserError:  # of a newer version
        return False


def judge(folder: RunDir, recorded: RunState, entry: QueueEntry | None, answer: queue.Answer) -> Found:
    """The state of a run without a result, from its `recorded` state and SLURM's `entry` of its job."""
    own = Found(State(recorded.state), recorded.reason)  # as recorded by the job or a launcher
    try:
        if folder.is_locked():  # a process of this machine trains it, whatever SLURM says
            return Found(State.RUNNING, f"job {entry.id}" if entry else "its process is alive")
    except LockError as error:
        if entry is None or entry.has_ended:
            return Found(State.UNKNOWN, str(error))
    if not answer.queue_known:
        return Found(State.UNKNOWN, "SLURM does not answer")
    if entry is None:
        return _without_entry(folder, own, answer)
    state = from_slurm(entry.word, entry.exit_code)
    where = f"job {entry.id}" + (f" on {entry.node}" if entry.node else "")
    if entry.reason == HELD:
        return Found(State.INTERRUPTED, f"{where} is held: SLURM has requeued it as often as it allows")
    if not entry.has_ended:
        why = own.reason if own.state is State.REQUEUED else in_words(entry.reason)
        return Found(state, where + (f": {why}" if why else ""))
    if entry.reason == NEVER:
        return Found(state, f"{where}: a job that it waited for has failed")
    if state in (State.FAILED, State.INTERRUPTED) and own.state is State.INTERRUPTED:
        return own
    if entry.word == "COMPLETED" and last_outcome(folder, 0) == "stopped":
        return Found(State.INTERRUPTED, "stopped on request")
    if entry.word == "COMPLETED":
        return Found(state, f"{where} ended with exit code 0, but left no valid result.json")
    code = f" (exit code {entry.exit_code})" if state in (State.FAILED, State.INTERRUPTED) else ""
    said = last_lines(folder.path.parent / "slurm" / f"{entry.id}.log") if state is State.FAILED else []
    if said and NO_STEP.match(said[-1]):
        return Found(State.INTERRUPTED, f"{where}: {said[-1]}")
    lines = (re.sub(r"^\d+: ", "", line) for line in said)  # srun labels the lines of tasks
    words = [line.removeprefix("error: ") for line in lines if not line.startswith(("srun: ", "slurmstepd"))]
    return Found(state, ", ".join([f"{where}: {entry.word}{code}", *words[-1:]]))


def _without_entry(folder: RunDir, own: Found, answer: queue.Answer) -> Found:
    """The state of a run whose job SLURM does not know, or no longer knows."""
    if own.state is State.INTERRUPTED:
        return own
    if not answer.history_known:
        return Found(State.UNKNOWN, "its job has left the queue, and accounting does not answer")
    if own.state is State.SUBMITTING:
        return Found(State.PLANNED, "its job never reached SLURM")
    if own.state is State.PENDING:
        return Found(State.FAILED, "its job left the queue before it started")
    return _by_outcome(folder, "SLURM no longer knows its job")


def _by_outcome(folder: RunDir, otherwise: str) -> Found:
    """The state of a run whose job is gone: by what its training recorded, `otherwise` interrupted for that reason."""
    outcome = last_outcome(folder, 0)
    if outcome.startswith("failed"):
        return Found(*after_exit(1, outcome, ""))
    return Found(State.INTERRUPTED, outcome or otherwise)
