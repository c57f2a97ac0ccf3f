"""Making way for a plan: what is to be started afresh is ended and set aside, what the grid dropped is ended."""

from collections.abc import Mapping, Sequence

from .. import console as cli
from ..sweep.folder import Sweep, note_state
from ..sweep.plan import Action, Decision, Found
from ..sweep.state import LIVE, State
from .cancel import cancel
from .status import counts


def agreed(sweep: Sweep, decisions: Sequence[Decision], yes: bool) -> bool:
    """Whether the user agrees to all that the plan takes away, asked once; true where it takes nothing.

    Raises `UserError` where nobody can be asked and `yes` is not given.
    """
    afresh = [decision.state for decision in decisions if decision.action is Action.AFRESH]
    ended = [decision.state for decision in decisions if decision.action is Action.DROP and decision.state in LIVE]
    takes = []
    if afresh:
        takes.append(f"starts {counts(afresh)} afresh, and what they have is moved to {sweep.replaced}")
    if ended:
        takes.append(f"cancels {counts(ended)} that the grid no longer holds")
    return not takes or cli.ask(f"this {' and '.join(takes)}", yes)


def clear(sweep: Sweep, decisions: Sequence[Decision], found: Mapping[str, Found]) -> list[Decision]:
    """Carry out what a plan takes away, and return what is left of it: the decisions about the grid's own runs.

    Killed at any point, the same command does the rest. Raises `UserError` if a run does not end.
    """
    dropped = [sweep.run(decision.run) for decision in decisions if decision.action is Action.DROP]
    ended = cancel(dropped, found, "no longer in the grid")
    for folder in dropped:
        now = Found(State.CANCELLED, "no longer in the grid") if folder in ended else found[folder.name]
        note_state(folder, now.state, now.reason, pruned=True)
    afresh = [decision for decision in decisions if decision.action is Action.AFRESH]
    cancel([sweep.run(decision.run) for decision in afresh], found, "to start afresh")
    for decision in afresh:
        sweep.set_aside(sweep.run(decision.run))
    return [
        Decision(decision.run, State.PLANNED, "", Action.START) if decision in afresh else decision
        for decision in decisions
        if decision.in_grid
    ]
