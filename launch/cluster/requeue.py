"""Requeuing a job: why it was stopped, whether it may start again, and putting it back into the queue."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..sweep.state import State
from .programs import SchedulerError, run
from .queue import known
from .times import read_seconds

RETRY_S = 2.0


@dataclass(frozen=True)
class Stop:
    """Why a job was signalled: `cancelled`, `preempted`, `timed out`, or `asked to stop` if not by SLURM; and whether
    SLURM has requeued the job already.
    """

    why: str
    in_queue: bool = False


def why_stopped(job: str, restarts: int, seconds_before_limit: float) -> Stop:
    """Why this job was signalled, queried from inside it. Raises `SchedulerError`."""
    return read_stop(run("scontrol", "--oneliner", "show", "job", job), restarts, seconds_before_limit)


def read_stop(text: str, restarts: int, seconds_before_limit: float) -> Stop:
    """Why a job was signalled, from the output of `scontrol show job`.

    A job that had started `restarts` + 1 times and has less than `seconds_before_limit` left has timed out.
    """
    fields = dict(re.findall(r"(\w+)=(\S*)", text))
    if int(fields.get("Restarts", restarts)) > restarts:
        return Stop("preempted", in_queue=True)
    if fields.get("JobState") != "RUNNING":  # COMPLETING: it is being killed
        return Stop("cancelled")
    if known(fields.get("PreemptTime", "")):
        return Stop("preempted")
    # Both by the controller's clock: that of this node may be wrong.
    limit, spent = (read_seconds(fields.get(name, "")) for name in ("TimeLimit", "RunTime"))
    is_late = limit is not None and spent is not None and limit - spent < seconds_before_limit
    return Stop("timed out" if is_late else "asked to stop")


@dataclass(frozen=True)
class Start:
    """One start of a job: how it ended, and how many attempts the run had recorded before.

    `outcome` is `preempted`, `timed out` or another reason; empty if the job was lost with its node.
    """

    outcome: str
    attempts_before: int


def refusal(starts: Sequence[Start], attempts: int, budget: int) -> tuple[State, str] | None:
    """The state and reason of a run whose job may not start again after these starts; None if it may.

    Each time-out and each lost node takes one of `budget`, a preemption none. After two starts that added none to the
    run's `attempts`, the job has failed, unless it was preempted or lost its node.
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
    return state, f"{times}, and `requeue: {budget}` is used up; --retry resumes from the checkpoint"


def requeue(job: str, patience_s: float) -> str:
    """Put this job, of an array this element alone, back into the queue, which ends it; retry for so many seconds.

    Returns why it could not be, empty if it was.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            run("scontrol", "requeue", job)
            return ""
        except SchedulerError as error:
            if time.monotonic() >= until:
                return f"could not be put back into the queue ({error})"
            time.sleep(RETRY_S)
