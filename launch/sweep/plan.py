"""What to do with each run of a grid. Pure: a dry run prints the plan, a launch carries it out.

| found | plain | `--retry` | `--force` |
|---|---|---|---|
| nothing, planned | start | start | start |
| submitting, pending, running, requeued, unknown | leave | leave | cancel, start from scratch |
| interrupted | resume | resume | start from scratch |
| failed, out of memory, timed out, node failed, cancelled | leave | resume | start from scratch |
| complete, stopped early | leave | leave | start from scratch |
| cannot be read | leave | leave | leave |

A run that is no longer in the grid is left; with `--prune` it is dropped: cancelled if alive, and marked as pruned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..grid import Run
from .state import ENDED_BADLY, Found, State


class Action(StrEnum):
    """What a launcher does with a run."""

    START = "start"
    RESUME = "resume"
    FROM_SCRATCH = "start from scratch"
    LATER = "later"
    LEAVE = "leave"
    DROP = "drop"


STARTS = frozenset({Action.START, Action.RESUME, Action.FROM_SCRATCH})


@dataclass(frozen=True)
class Policy:
    """The options of a launch. `limit` is the largest number of runs to start; None starts all."""

    retry: bool = False
    force: bool = False
    prune: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Decision:
    """A run, its observed state, and what to do. `in_grid` is false for a run that is no longer in the grid."""

    run: Run
    found: Found
    action: Action
    in_grid: bool = True

    @property
    def state(self) -> State:
        """The observed state of the run."""
        return self.found.state


def decide(
    runs: Sequence[Run], found: Mapping[str, Found], policy: Policy, dropped: Sequence[Run] = ()
) -> list[Decision]:
    """The plan for each of `runs` by the table above, then for the `dropped` ones, which are no longer in the grid.

    `found` maps the names of runs to their observed states.
    """
    decisions = []
    for run in runs:
        now = found[run.config.name]
        decisions.append(Decision(run, now, _action(now.state, policy)))
    if policy.limit is not None:
        starting = [number for number, one in enumerate(decisions) if one.action in STARTS]
        for number in starting[policy.limit :]:
            decisions[number] = replace(decisions[number], action=Action.LATER)
    for run in dropped:
        now = found[run.config.name]
        drops = policy.prune and now.state is not State.UNREADABLE
        decisions.append(Decision(run, now, Action.DROP if drops else Action.LEAVE, in_grid=False))
    return decisions


def _action(state: State, policy: Policy) -> Action:
    if state is State.PLANNED:
        return Action.START
    if state is State.UNREADABLE:
        return Action.LEAVE
    if policy.force:
        return Action.FROM_SCRATCH
    if state is State.INTERRUPTED or (policy.retry and state in ENDED_BADLY):
        return Action.RESUME
    return Action.LEAVE


def to_start(decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions that start a run, in order."""
    return [decision for decision in decisions if decision.action in STARTS]


def summary(decisions: Sequence[Decision]) -> str:
    """The plan in one line: `3 to start, 1 to resume, 4 complete, 1 failed (--retry resumes it)`."""
    verbs = {
        Action.START: "to start",
        Action.RESUME: "to resume",
        Action.FROM_SCRATCH: "to start from scratch",
        Action.LATER: "left for later by --limit",
    }
    parts = []
    for action, verb in verbs.items():
        if count := sum(decision.action is action for decision in decisions):
            parts.append(f"{count} {verb}")
    left = [decision.state for decision in decisions if decision.action is Action.LEAVE and decision.in_grid]
    for state in State:
        if count := left.count(state):
            hint = f" (--retry resumes {'it' if count == 1 else 'them'})" if state in ENDED_BADLY else ""
            parts.append(f"{count} {state.replace('_', ' ')}{hint}")
    return ", ".join(parts)


def outside(decisions: Sequence[Decision]) -> str:
    """What happens to the runs that are no longer in the grid, in one line; empty if there are none."""
    gone = [decision for decision in decisions if not decision.in_grid]
    if not gone:
        return ""
    counts = (f"{[d.state for d in gone].count(state)} {state.replace('_', ' ')}" for state in State)
    states = ", ".join(part for part in counts if not part.startswith("0 "))
    plural = "run is" if len(gone) == 1 else "runs are"
    fate = "--prune cancels those that are alive and forgets all; their folders stay"
    if any(decision.action is Action.DROP for decision in gone):
        fate = "pruned: those that are alive are cancelled; their folders stay"
    names = ", ".join(decision.run.config.name for decision in gone[:5])
    more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
    return f"{len(gone)} {plural} in the folder but not in the grid ({states}; {fate}): {names}{more}"
