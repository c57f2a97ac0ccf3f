"""Select runs of a grid by value (`--only`) and by name or signature (`--id`, `--logs`). Pure."""

import difflib
import re
from collections.abc import Sequence
from typing import Any

from artnet import config
from artnet.config.document import parse
from shards.errors import UserError

from .schema import Expansion, Run
from .space import Values, shown

Term = tuple[str, list[Any], bool]  # key, values, and whether the run must have one of them or none

_COMMA = re.compile(r",(?![^\[]*\])")  # not within brackets
_TERM = re.compile(r"\s*(!?)\s*([^!=]*?)\s*(!?)=(.*)", re.DOTALL)


def terms_of(text: str) -> list[Term]:
    """The terms of one `--only`, such as `attention=se,seed!=[0,1]`. A run is selected if all of them hold."""
    found = []
    for term in _COMMA.split(text):
        match = _TERM.fullmatch(term)
        if not match:
            raise UserError(f"--only {text}: {term!r} is not KEY=VALUE; write it as --only attention=se,seed=0")
        before, name, after, written = match.groups()
        try:
            key = _key(name)
            found.append((key, _values(key, written.strip()), before == after))
        except UserError as error:
            raise UserError(f"--only {text}: {error}") from None
    return found


def _values(key: str, written: str) -> list[Any]:
    """The canonical values that a term names: one, or those of a list. Several tasks of a run are joined with `+`."""
    given = written if key == "task" and not written.startswith("[") else parse(written, key)
    listed = given if isinstance(given, list) else [given]
    if not listed:
        raise UserError(f"{key} has no values; list some")
    if key == "task":
        listed = [str(item).split("+") for item in listed]
    spelled = None if isinstance(given, list) else written
    return [config.canonical(key, value, spelled) for value in listed]


def _key(name: str) -> str:
    """The dotted path that ends with a name such as `attention`."""
    found = [key for key in config.fields() if key == name or key.endswith(f".{name}")]
    if name in config.fields() or len(found) == 1:
        return name if name in config.fields() else found[0]
    raise UserError(f"{name} is ambiguous; write {' or '.join(found)} in full" if found else config.unknown_key(name))


def selects(terms: list[Term], flat: Values) -> bool:
    """Whether all terms hold for a run, given as a `flat` configuration."""
    return all((flat[key] in values) is wanted for key, values, wanted in terms)


def nothing_selected(only: Sequence[str], selection: list[list[Term]], flats: Sequence[Values]) -> str:
    """The error message for a selection without runs: which values the runs have of the keys in it."""
    keys = dict.fromkeys(key for terms in selection for key, _, _ in terms)
    values = (f"{key} {', '.join(dict.fromkeys(shown(flat[key]) for flat in flats))}" for key in keys)
    return f"--only {' --only '.join(only)} selects none of {len(flats)} runs; they have {' and '.join(values)}"


def by_id(expansion: Expansion, prefixes: Sequence[str]) -> Expansion:
    """The runs whose name or signature begins with one of `prefixes`; all runs if there are no prefixes.

    Raises `UserError` for a prefix that matches no run, with the closest name.
    """
    if not prefixes:
        return expansion
    for prefix in prefixes:
        if not any(_has(run, prefix) for run in expansion.runs):
            raise UserError(f"--id {prefix}: {_nearest(expansion.runs, prefix)}")
    chosen = [run for run in expansion.runs if any(_has(run, prefix) for prefix in prefixes)]
    return Expansion(chosen, f"{expansion.arithmetic}; {len(chosen)} by --id")


def one(runs: Sequence[Run], prefix: str) -> Run:
    """The run whose name or signature begins with `prefix`. Raises `UserError` unless exactly one does."""
    if not prefix:
        raise UserError(f"--logs: {len(runs)} runs are selected; give the ID of one, or select one with --only")
    chosen = [run for run in runs if _has(run, prefix)]
    if not chosen:
        raise UserError(f"--logs {prefix}: {_nearest(runs, prefix)}")
    if len(chosen) > 1:
        names = ", ".join(run.config.name for run in chosen[:5]) + (", ..." if len(chosen) > 5 else "")
        raise UserError(
            f"--logs {prefix}: {len(chosen)} runs begin with it ({names}); give the signature after the last dash"
        )
    return chosen[0]


def _has(run: Run, prefix: str) -> bool:
    return bool(prefix) and (run.config.name.startswith(prefix) or run.config.signature.startswith(prefix))


def _nearest(runs: Sequence[Run], prefix: str) -> str:
    keys = {
        text[:size]: run.config.name
        for run in runs
        for text, size in ((run.config.name, len(prefix)), (run.config.signature, len(prefix)), (run.config.name, None))
    }
    near = difflib.get_close_matches(prefix, list(keys), n=1, cutoff=0.5)
    hint = f"did you mean {keys[near[0]]}?" if near else f"an example of a name is {runs[0].config.name}"
    return f"none of the names and signatures of {len(runs)} runs begins with it; {hint}"
