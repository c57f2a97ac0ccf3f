"""Expand a grid into runs: the product, plus conditionals, minus excludes, plus includes.

Pure, but for the digests of weights that runs start from: the same file, `--set` and `--only` give the same runs in
the same order.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from shards.errors import UserError

from .candidates import Candidate, candidate, combinations, matches, matching, overrides
from .distributions import Distribution
from .earlier import RunOf
from .schema import Expansion, Grid
from .selection import nothing_selected, selects, terms_of
from .space import Space, Values

MAX_RUNS = 10_000


def expand(grid: Grid, sets: Sequence[str] = (), only: Sequence[str] = ()) -> Expansion:
    """The runs of a grid. `sets` (`KEY=VALUE`) override `fixed`; only the runs that `only` selects are kept.

    Raises `UserError` for distributions, for two identical runs, for an entry that matches no run, and for
    `sets` or `only` that do not fit the grid.
    """
    for draw in distributions(grid):
        where = next(grid.where(*position) for key, position in grid.stated if key == draw.key)
        search = "use launch/tune.py or launch/slurm.py"
        raise UserError(f"{where}: {draw.key} is drawn from a distribution; {search}, or list its values")
    fixed = grid.fixed | overrides(grid, sets)
    selection = [terms_of(text) for text in only]
    count = math.prod(len(axis) for axis in grid.space.axes)
    _check_count(grid, count)

    points, matched = _points(grid, fixed)
    kept = [run for run in points if not any(matches(run.flat, when) for when in grid.exclude)]
    included = [candidate(grid, fixed | entry, ("include", i)) for i, entry in enumerate(grid.include)]
    runs = kept + included
    _check_distinct(grid, runs)
    if not runs:
        raise UserError(f"{grid.where('exclude')}: the excludes leave no run; remove one of them")
    if not sets:  # with --set, a valid `when` or exclude may match no run this time
        _check_matches(grid, points, matched, runs)

    selected = [run for run in runs if not only or any(selects(terms, run.flat) for terms in selection)]
    if not selected:
        raise UserError(nothing_selected(only, selection, [run.flat for run in runs]))
    changes = {
        "+ {} conditional": len(points) - count,
        "- {} excluded": len(points) - len(kept),
        "+ {} included": len(included),
    }
    arithmetic = _arithmetic([str(len(axis)) for axis in grid.space.axes], count, changes, len(runs))
    return Expansion(
        runs=[run.run(grid) for run in selected],
        arithmetic=f"{arithmetic}; {len(selected)} selected" if only else arithmetic,
    )


def sources(grid: Grid) -> set[Path]:
    """The folders of the sweeps of which `init_from: {sweep: ...}` names runs."""
    spaces = [grid.space, *(part.space for part in grid.conditionals)]
    rows = [grid.fixed, *grid.include, *(row for space in spaces for axis in space.axes for row in axis)]
    given = [row.get("init_from") for row in rows] + [value for draw in distributions(grid) for value in draw.values]
    return {value.sweep.resolve() for value in given if isinstance(value, RunOf)}


def distributions(grid: Grid) -> list[Distribution]:
    """All distributions of a search, those of conditionals too; none for a grid that states its runs."""
    return [*grid.space.draws, *(draw for part in grid.conditionals for draw in part.space.draws)]


def _arithmetic(factors: list[str], product: int, changes: dict[str, int], total: int) -> str:
    terms = " ".join(text.format(count) for text, count in changes.items() if count)
    head = f"{' x '.join(factors)} = {product}" if len(factors) > 1 else str(product)
    runs = "run" if total == 1 else "runs"
    return f"{head}, {terms} = {total} {runs}" if terms else f"{head} {runs}"


def _check_count(grid: Grid, count: int) -> None:
    if count > MAX_RUNS:
        raise UserError(f"{grid.where()}: over {MAX_RUNS:,} runs; split the grid, or list fewer values")


def _points(grid: Grid, fixed: Values) -> tuple[list[Candidate], set[int]]:
    """The runs of the product, expanded by the conditionals they match, and the indices of these conditionals."""
    points: list[Candidate] = []
    matched: set[int] = set()
    for row in combinations(grid.space.axes):
        matching_now = matching(grid, fixed | row)
        matched.update(matching_now)
        extra = sum((grid.conditionals[i].space for i in matching_now), Space())
        for more in combinations(extra.axes):
            points.append(candidate(grid, fixed | row | more, ()))
            _check_count(grid, len(points))
    return points, matched


def _check_distinct(grid: Grid, runs: Sequence[Candidate]) -> None:
    first: dict[str, Candidate] = {}
    for run in runs:
        other = first.setdefault(run.config.signature, run)
        if other is run:
            continue
        differing = [key for key, value in run.flat.items() if other.flat[key] != value]
        why = f" (they differ only in {', '.join(differing)}, which changes no result)" if differing else ""
        if run.position:
            line = grid.document.lines[other.position]
            same = f"the include on line {line}" if other.position else f"{other.config.name} of the product"
            raise grid.document.error(run.position, f"this include is the same run as {same}{why}; remove it")
        position = next((at for key, at in grid.stated if key in differing), ())
        raise grid.document.error(position, f"{run.config.name} is in the product twice{why}; keep one of the values")


def _check_matches(grid: Grid, points: list[Candidate], matched: set[int], runs: list[Candidate]) -> None:
    """Refuse entries that match no run: they are misspelt or left over, and would mislead readers of the grid."""
    for index, _ in enumerate(grid.conditionals):
        if index not in matched:
            where = grid.where("conditional", index, "when")
            raise UserError(f"{where}: this `when` matches no run of the product; fix or remove it")
    for index, when in enumerate(grid.exclude):
        if not any(matches(run.flat, when) for run in points):
            raise UserError(f"{grid.where('exclude', index)}: this exclude matches no run; fix or remove it")
    for index, entry in enumerate(grid.reference):
        if not any(matches(run.flat, entry["when"]) for run in runs):
            where = grid.where("reference", index, "when")
            raise UserError(f"{where}: this `when` matches no run of the grid; fix or remove it")
    if grid.baseline and not any(matches(run.flat, grid.baseline) for run in runs):
        raise UserError(f"{grid.where('baseline')}: the baseline matches no run of the grid; fix or remove it")
