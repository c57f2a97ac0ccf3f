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

_SLURM = {
    "PENDING": State.PENDING,
    "CONFIGURING": State.PENDING,
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
    "STOPPED": State.RUNNING,
    "SUSPENDED": State.RUNNING,
    "PREEMPTED": State.INTERRUPTED,
    "CANCELLED": State.CANCELLED,
    "REVOKED": State.CANCELLED,
    "FAILED": State.FAILED,
    "BOOT_FAIL": State.NODE_FAILED,
    "NODE_FAIL": State.NODE_FAILED,
    "OUT_OF_MEMORY": State.OUT_OF_MEMORY,
    "DEADLINE": State.TIMED_OUT,
    "TIMEOUT": State.TIMED_OUT,
    "COMPLETED": State.FAILED,  # the job ended well, yet it is asked for because there is no valid result
}


def from_slurm(word: str) -> State:
    """The state that SLURM's word (as in `CANCELLED by 1000`) means for a run without a result.

    Words that SLURM may add one day are unknown, not bad.
    """
    return _SLURM.get(word.partition(" ")[0].rstrip("+"), State.UNKNOWN)


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
