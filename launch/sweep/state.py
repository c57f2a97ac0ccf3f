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
from collections.abc import Mapping
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

# Signals that come from outside the program: they say nothing about the run itself.
FROM_OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2}


@dataclass(frozen=True)
class Found:
    """How a run was found: its state and the reason for it, and the `engine` that it belongs to.

    Of a scheduler's job also the id, the node and the time that its limit leaves, as the scheduler writes them. A run
    that is alive without a job is a process of this machine.
    """

    state: State
    reason: str = ""
    engine: str = ""
    job: str = ""
    node: str = ""
    left: str = ""


@dataclass(frozen=True)
class Observation:
    """How runs were found, by their names, and the scheduler's complaint, if any.

    If the scheduler `is_silent`, the state of no job is known.
    """

    found: Mapping[str, Found]
    trouble: str = ""
    is_silent: bool = False


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
    if number in FROM_OUTSIDE:
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
