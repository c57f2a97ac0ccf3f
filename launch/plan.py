"""What to do with each run of a grid. Pure: a dry run is the plan printed, a launch is the plan carried out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .grid import Run
from .states import ENDED_BADLY, State


class Action(StrEnum):
    """What a launcher does with a run."""

    START = "start"
    RESUME = "resume"
    LEAVE = "leave"


@dataclass(frozen=True)
class Decision:
    """A run of the grid, how it was found, and what to do."""

    run: Run
    state: State
    reason: str
    action: Action


@dataclass(frozen=True)
class Found:
    """How a run was found: its state, and why it is in it."""

    state: State
    reason: str = ""


def decide(runs: Sequence[Run], found: Mapping[str, Found], retry: bool) -> list[Decision]:
    """Start what is missing, go on with what was interrupted, and with what ended badly if `retry`; leave the rest.

    `found` maps the names of runs to how they were found.
    """
    decisions = []
    for run in runs:
        state, reason = found[run.config.name].state, found[run.config.name].reason
        if state is State.PLANNED:
            action = Action.START
        elif state is State.INTERRUPTED or (retry and state in ENDED_BADLY):
            action = Action.RESUME
        else:
            action = Action.LEAVE
        decisions.append(Decision(run, state, reason, action))
    return decisions


def summary(decisions: Sequence[Decision]) -> str:
    """The plan in one line: `3 to start, 1 to resume, 4 complete, 1 failed (--retry starts it again)`."""
    parts = []
    for action, verb in ((Action.START, "to start"), (Action.RESUME, "to resume")):
        if count := sum(decision.action is action for decision in decisions):
            parts.append(f"{count} {verb}")
    for state in State:
        count = sum(decision.action is Action.LEAVE and decision.state is state for decision in decisions)
        if count:
            hint = " (--retry goes on with it)" if state in ENDED_BADLY else ""
            parts.append(f"{count} {state.replace('_', ' ')}{hint}")
    return ", ".join(parts)
