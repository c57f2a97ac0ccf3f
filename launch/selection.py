"""Which runs of a grid are meant by `--id` and `--state`; `--only` is for `grid.expand`. Pure."""

import difflib
from collections.abc import Mapping, Sequence

from shards.errors import UserError

from .grid import Expansion, Run
from .plan import Found
from .states import State


def by_id(expansion: Expansion, prefixes: Sequence[str]) -> Expansion:
    """The runs whose name or signature begins with one of `prefixes`; all if there are none.

    Raises `UserError` for a prefix that no run has, with the nearest that one has.
    """
    if not prefixes:
        return expansion
    for prefix in prefixes:
        if not any(_has(run, prefix) for run in expansion.runs):
            raise UserError(f"--id {prefix}: {_nearest(expansion.runs, prefix)}")
    chosen = [run for run in expansion.runs if any(_has(run, prefix) for prefix in prefixes)]
    return Expansion(chosen, f"{expansion.arithmetic}; {len(chosen)} by --id")


def one(runs: Sequence[Run], prefix: str) -> Run:
    """The run whose name or signature begins with `prefix`. Raises `UserError` unless it is exactly one."""
    chosen = [run for run in runs if _has(run, prefix)]
    if not chosen:
        raise UserError(f"--logs {prefix}: {_nearest(runs, prefix)}")
    if len(chosen) > 1:
        names = ", ".join(run.config.name for run in chosen[:5]) + (", ..." if len(chosen) > 5 else "")
        raise UserError(
            f"--logs {prefix}: {len(chosen)} runs begin so ({names}); give what stands after the name's last dash"
        )
    return chosen[0]


def states(words: Sequence[str]) -> frozenset[State]:
    """The states of `--state`, written as the table shows them or with `-` or `_`. Raises `UserError` for another."""
    chosen = set()
    for word in words:
        name = word.strip().lower().replace(" ", "_").replace("-", "_")
        if name not in set(State):
            near = difflib.get_close_matches(name, list(State), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the states are {', '.join(State)}"
            raise UserError(f"--state {word}: there is no such state; {hint}")
        chosen.add(State(name))
    return frozenset(chosen)


def by_state(runs: Sequence[Run], found: Mapping[str, Found], wanted: frozenset[State]) -> list[Run]:
    """The runs that were found in one of the `wanted` states; all if none is wanted."""
    return [run for run in runs if not wanted or found[run.config.name].state in wanted]


def _has(run: Run, prefix: str) -> bool:
    return bool(prefix) and (run.config.name.startswith(prefix) or run.config.signature.startswith(prefix))


def _nearest(runs: Sequence[Run], prefix: str) -> str:
    keys = {
        text[:size]: run.config.name
        for run in runs
        for text, size in ((run.config.name, len(prefix)), (run.config.signature, len(prefix)), (run.config.name, None))
    }
    near = difflib.get_close_matches(prefix, list(keys), n=1, cutoff=0.5)
    hint = f"the nearest is {keys[near[0]]}" if near else f"they are called such as {runs[0].config.name}"
    return f"none of {len(runs)} runs has a name or a signature that begins so; {hint}"
