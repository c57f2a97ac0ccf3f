"""What to do with each run of a grid. Pure: a dry run is the plan printed, a launch is the plan carried out.

| found | plain | `--retry` | `--force` |
|---|---|---|---|
| nothing, planned | start | start | start |
| submitting, pending, running, requeued, unknown | leave | leave | cancel, start from scratch |
| interrupted | resume | resume | start from scratch |
| failed, out of memory, timed out, node failed, cancelled | leave | resume | start from scratch |
| complete | leave | leave | start from scratch |

A run that the grid no longer holds is left too, or with `--prune` dropped: cancelled where it lives, and marked.
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
    """What the user wants done beyond what is missing. `limit` is the most runs to start, None for all."""

    retry: bool = False
    force: bool = False
    prune: bool = False
    limit: int | None = None


@dataclass(frozen=True)
class Decision:
    """A run, how it was found, and what to do. `in_grid` is false for one that an earlier grid held."""

    run: Run
    found: Found
    action: Action
    in_grid: bool = True

    @property
    def state(self) -> State:
        """The state in which the run was found."""
        return self.found.state


def decide(
    runs: Sequence[Run], found: Mapping[str, Found], policy: Policy, dropped: Sequence[Run] = ()
) -> list[Decision]:
    """The plan: what the table above says for each of `runs`, then for the `dropped` ones, which the grid held once.

    `found` maps the names of runs to how they were found.
    """

    decisions = []
    for run in runs:
        now = found[run.config.name]
        decisions.append(Decision(run, now, _action(now.state, policy)))
    if policy.limit is not None:
        starting = [number for number, one in enumerate(decisions) if one.action in STARTS]
        for number in starting[policy.limit :]:
            decisions[number] = replace(decisions[number], action=Action.LATER)
    action = Action.DROP if policy.prune else Action.LEAVE
    return decisions + [Decision(run, found[run.config.name], action, in_grid=False) for run in dropped]


def _action(state: State, policy: Policy) -> Action:
    if state is State.PLANNED:
        return Action.START
    if policy.force:
        return Action.FROM_SCRATCH
    if state is State.INTERRUPTED or (policy.retry and state in ENDED_BADLY):
        return Action.RESUME
    return Action.LEAVE


def to_start(decisions: Sequence[Decision]) -> list[Decision]:
    """Those that a launcher has to start, in order."""
    return [decision for decision in decisions if decision.action in STARTS]


def summary(decisions: Sequence[Decision]) -> str:
    """The plan in one line: `3 to start, 1 to resume, 4 complete, 1 failed (--retry goes on with it)`."""
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
            hint = f" (--retry goes on with {'it' if count == 1 else 'them'})" if state in ENDED_BADLY else ""
            parts.append(f"{count} {state.replace('_', ' ')}{hint}")
    return ", ".join(parts)


def outside(decisions: Sequence[Decision]) -> str:
    """What becomes of the runs that the grid no longer holds, in one line; empty if there are none."""
    gone = [decision for decision in decisions if not decision.in_grid]
    if not gone:
        return ""
    counts = (f"{[d.state for d in gone].count(state)} {state.replace('_', ' ')}" for state in State)
    states = ", ".join(part for part in counts if not part.startswith("0 "))
    plural = "run is" if len(gone) == 1 else "runs are"
    fate = "--prune cancels what lives and forgets them, folders stay"
    if gone[0].action is Action.DROP:
        fate = "pruned: what lives is cancelled, folders stay"
    names = ", ".join(decision.run.config.name for decision in gone[:5])
    more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
    return f"{len(gone)} {plural} in the folder but not in the grid ({states}; {fate}): {names}{more}"
