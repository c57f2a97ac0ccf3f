"""Whether complete runs were made by the code as it is now."""

from collections.abc import Sequence

from artnet import sources

from .folder import SweepDir
from .plan import Action, Decision
from .state import State


def other_code(sweep: SweepDir, decisions: Sequence[Decision]) -> str:
    """A sentence about the complete runs that are left though their code has changed; empty if there are none."""
    count, files = 0, set()
    seen: dict[str, list[str]] = {}
    for decision in decisions:
        if decision.state is not State.COMPLETE or decision.action is not Action.LEAVE or not decision.in_grid:
            continue
        changed = set()
        for record in sources.recorded(sweep.run(decision.run).run()):
            key = repr(record)
            seen[key] = seen[key] if key in seen else sources.changed(record)
            changed.update(seen[key])
        count += bool(changed)
        files |= changed
    if not count:
        return ""
    runs, them = ("run was", "it") if count == 1 else ("runs were", "them")
    return f"{count} complete {runs} made by other code ({sources.named(sorted(files))}); --force trains {them} again"
