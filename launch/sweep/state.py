"""The states of a run, and how they follow from the evidence. Pure: no disk, no clock, no scheduler.

planned -> submitting -> pending -> running -> complete
running -> requeued -> pending              preempted, or out of time with budget left
running -> interrupted                      stopped on request or killed with its machine: a launch resumes it
running -> failed | out_of_memory | timed_out | node_failed
pending, running -> cancelled
running -> stopped_early                    by its search: a good end
any live state -> unknown -> any            the scheduler or the run's lock cannot be asked
any state -> unreadable -> any              its folder cannot be read; it is left alone
"""

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from artnet.rundir import EXIT_STOPPED


class State(StrEnum):
    """The state of a run. Only a valid `result.json` makes it complete."""

    PLANNED = "planned"
    SUBMITTING = "submitting"
    PENDING = "pending"
    RUNNING = "running"
    REQUEUED = "requeued"
    INTERRUPTED = "interrupted"
    COMPLETE = "complete"
    STOPPED_EARLY = "stopped_early"
    FAILED = "failed"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    NODE_FAILED = "node_failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    UNREADABLE = "cannot_be_read"


LIVE = frozenset({State.SUBMITTING, State.PENDING, State.RUNNING, State.REQUEUED, State.UNKNOWN})
ENDED_BADLY = frozenset({State.FAILED, State.OUT_OF_MEMORY, State.TIMED_OUT, State.NODE_FAILED, State.CANCELLED})

ENDED_WELL = frozenset({State.COMPLETE, State.STOPPED_EARLY})

# Signals sent from outside the program: they are no failure of the run.
FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}


@dataclass(frozen=True)
class Found:
    """The observed state of a run, the reason for it, and the `engine` that the run belongs to.

    For a scheduler's job also its id, its node and the time left until its limit, as the scheduler writes them. A run
    that is alive without a job is a process on this machine.
    """

    state: State
    reason: str = ""
    engine: str = ""
    job: str = ""
    node: str = ""
    left: str = ""


@dataclass(frozen=True)
class Observation:
    """The observed states of runs by name, and the scheduler's error, if any.

    If the scheduler `is_silent`, it did not answer: the states of its jobs are unknown. `age_s` is the age of its
    answer where that was cached, else 0.
    """

    found: Mapping[str, Found]
    trouble: str = ""
    is_silent: bool = False
    age_s: float = 0.0


def after_exit(code: int, outcome: str, last_line: str) -> tuple[State, str]:
    """The state of a run without a result whose program has ended, and the reason.

    `code` is the exit code, negative for a signal; `outcome` is what the program recorded about its end (`stopped`,
    `failed: ...` or nothing); `last_line` is the last line of its stderr.
    """
    if outcome == "stopped" or code == EXIT_STOPPED:
        return State.INTERRUPTED, "stopped on request"
    # torchrun that is stopped before its workers start exits with 1; the last line of its traceback has the signal.
    match = re.search(r"SignalException: Process \d+ got signal: (\d+)", last_line)
    number = int(match[1]) if match else -code if code < 0 else code - 128
    if number in FROM_OUTSIDE:
        return State.INTERRUPTED, f"killed by {signal.Signals(number).name}"
    if number == signal.SIGBUS:
        return State.FAILED, "killed by SIGBUS: a shard was cut short while it was read; replace it, never overwrite it"
    reason = outcome.removeprefix("failed: ") or last_line or f"exit code {code}"
    if reason.startswith("PeerGoneError: "):
        return State.INTERRUPTED, reason.removeprefix("PeerGoneError: ")
    if "OutOfMemoryError" in reason:
        return State.OUT_OF_MEMORY, reason
    if code == 0:
        return State.FAILED, "ended with exit code 0, but left no valid result.json"
    return State.FAILED, reason


def on_this_machine(complete: bool, locked: bool, recorded: str) -> State:
    """The state of a run that has no scheduler.

    `complete`: it has a valid result; `locked`: a process is training it; `recorded`: the last state in `state.json`.
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
