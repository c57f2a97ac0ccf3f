"""The states of a run, and what evidence means. Pure: no disk, no clock, no scheduler.

planned -> submitting -> pending -> running -> complete
running -> requeued -> pending              preempted, or out of time with budget left
running -> interrupted                      stopped on request or killed with its machine: starting it goes on
running -> failed | out_of_memory | timed_out | node_failed
pending, running -> cancelled
any live state -> unknown -> any            the scheduler cannot be asked
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from artnet.rundir import EXIT_STOPPED


class State(StrEnum):
    """Where a run is. Only a valid `result.json` makes it complete."""

    PLANNED = "planned"
    SUBMITTING = "submitting"
    PENDING = "pending"
    RUNNING = "running"
    REQUEUED = "requeued"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    NODE_FAILED = "node_failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


LIVE = frozenset({State.SUBMITTING, State.PENDING, State.RUNNING, State.REQUEUED, State.UNKNOWN})
ENDED_BADLY = frozenset({State.FAILED, State.OUT_OF_MEMORY, State.TIMED_OUT, State.NODE_FAILED, State.CANCELLED})

# Signals that come from outside the program: whoever sent them did not judge the run.
_FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}
_SRUN_SIGNALS = _FROM_OUTSIDE - {signal.SIGHUP, signal.SIGINT}  # 1 and 2 are exit codes of training

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
    "COMPLETED": State.FAILED,  # the job ended well, yet it is asked for because there is no valid result
}


def from_slurm(word: str, exit_code: str = "") -> State:
    """The state that SLURM's word (as in `CANCELLED by 1000`) means for a run without a result.

    `exit_code` as sacct has it, `CODE:SIGNAL`: a job that somebody killed has not failed. Words that SLURM may add
    one day are unknown, not bad.
    """
    state = _SLURM.get(word.partition(" ")[0].rstrip("+"), State.UNKNOWN)
    code, _, number = exit_code.partition(":")
    if state is State.FAILED and code.isdecimal() and number.isdecimal():
        # Of a task that was killed some versions of srun say 128 + SIGNAL, and some SIGNAL alone.
        killed_by = int(number) or int(code) - 128
        if killed_by in _FROM_OUTSIDE or int(code) in _SRUN_SIGNALS or int(code) == EXIT_STOPPED:
            return State.INTERRUPTED
    return state


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


def after_exit(code: int, outcome: str, last_words: str) -> tuple[State, str]:
    """The state of a run without a result whose program has ended, and the reason.

    `code` is the exit code, negative for a signal; `outcome` is what the program noted about its end (`stopped`,
    `failed: ...` or nothing); `last_words` is the last line of its stderr.
    """
    if outcome == "stopped" or code == EXIT_STOPPED:
        return State.INTERRUPTED, "stopped on request"
    # torchrun, stopped before its processes began, says so in its traceback's last line and ends with 1.
    told = re.search(r"SignalException: Process \d+ got signal: (\d+)", last_words)
    number = int(told[1]) if told else -code if code < 0 else code - 128
    if number in _FROM_OUTSIDE:
        return State.INTERRUPTED, f"killed by {signal.Signals(number).name}"
    reason = outcome.removeprefix("failed: ") or last_words or f"exit code {code}"
    if reason.startswith("PeerGoneError: "):
        return State.INTERRUPTED, reason.removeprefix("PeerGoneError: ")
    if "OutOfMemoryError" in reason:
        return State.OUT_OF_MEMORY, reason
    if code == 0:
        return State.FAILED, "ended with exit code 0, but left no valid result.json"
    return State.FAILED, reason


def on_this_machine(complete: bool, locked: bool, recorded: str) -> State:
    """The state of a run that no scheduler knows.

    `complete`: it has a valid result; `locked`: a process trains it now; `recorded`: what a launcher last noted.
    """
    if complete:
        return State.COMPLETE
    if locked:
        return State.RUNNING
    if not recorded:
        return State.PLANNED
    state = State(recorded) if recorded in set(State) else State.UNKNOWN
    if state is State.COMPLETE:
        return State.FAILED
    return State.INTERRUPTED if state in LIVE else state
