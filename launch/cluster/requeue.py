"""Whether a job goes on: why SLURM has stopped it, and whether it may start again."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ..sweep.state import State
from .programs import run
from .queue import known


@dataclass(frozen=True)
class Stop:
    """Why a job was signalled: `cancelled`, `preempted`, `timed out`, or `asked to stop` if not by SLURM; and whether
    SLURM has put the job back into the queue already.
    """

    why: str
    in_queue: bool = False


def why_stopped(job: str, restarts: int, seconds_before_limit: float) -> Stop:
    """Why SLURM has signalled this job, from inside it. Raises `SchedulerError`."""
    return read_stop(run("scontrol", "--oneliner", "show", "job", job), restarts, seconds_before_limit)


def read_stop(text: str, restarts: int, seconds_before_limit: float) -> Stop:
    """The same from what scontrol printed."""
    fields = dict(re.findall(r"(\w+)=(\S*)", text))
    if int(fields.get("Restarts", restarts)) > restarts:
        return Stop("preempted", in_queue=True)
    if fields.get("JobState") != "RUNNING":  # COMPLETING, as all that is being killed
        return Stop("cancelled")
    if known(fields.get("PreemptTime", "")):
        return Stop("preempted")
    try:
        left = (datetime.fromisoformat(fields["EndTime"]) - datetime.now()).total_seconds()
    except (KeyError, ValueError):
        return Stop("asked to stop")
    return Stop("timed out" if left < seconds_before_limit else "asked to stop")


@dataclass(frozen=True)
class Start:
    """One start of a job: how it ended, and how many attempts at training the run had before.

    `outcome` is `preempted`, `timed out`, or another word of the job's; nothing if it was lost with its node.
    """

    outcome: str
    attempts_before: int


def refusal(starts: Sequence[Start], attempts: int, budget: int) -> tuple[State, str] | None:
    """Why a job may not start again after these starts, as the state and reason of its run; None if it may.

    A time-out and a node that was lost take one of `budget` each, a preemption none. Two starts after which the run
    has no more `attempts` than before are the job's own fault, unless it was preempted or lost its node.
    """
    idle = [start for start in starts if start.attempts_before == attempts and start.outcome not in ("preempted", "")]
    if len(idle) > 1:
        return State.FAILED, f"never began to train, {len(idle)} times in a row"
    timed_out = sum(start.outcome == "timed out" for start in starts)
    lost = sum(not start.outcome for start in starts)
    if timed_out + lost <= budget:
        return None
    times = " and ".join(
        f"{what} {count} time{'s' * (count > 1)}"
        for what, count in (("ran out of time", timed_out), ("was lost with its node", lost))
        if count
    )
    state = State.TIMED_OUT if starts[-1].outcome == "timed out" else State.NODE_FAILED
    return state, f"{times}, and `requeue: {budget}` is used up; --retry goes on from the checkpoint"
