"""Expand a grid into runs: the product, plus conditionals, minus excludes, plus includes.

Pure, but for the digests of weights that runs start from: the same file, `--set` and `--only` give the same runs in
the same order, including the draws of a search.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artnet import config
from artnet.config import RunConfig
from artnet.config.document import Position, parse
from artnet.weights import with_digest
from shards.errors import UserError

from .earlier import RunOf
from .schema import Expansion, Grid, Run
from .selection import nothing_selected, selects, terms_of
from .space import Axis, Distribution, Space, Values

MAX_RUNS = 10_000


@dataclass(frozen=True)
class _Candidate:
    """A run that may still be dropped: its configuration, the same flattened, and the position of its include."""

    config: RunConfig
    flat: Values
    position: Position


def expand(grid: Grid, sets: Sequence[str] = (), only: Sequence[str] = ()) -> Expansion:
    """The runs of a grid. `sets` (`KEY=VALUE`) override `fixed`; only the runs that `only` selects are kept.

    Raises `UserError` for distributions, for two identical runs, for an entry that matches no run, and for
    `sets` or `only` that do not fit the grid.
    """
    for draw in _all_draws(grid):
        where = next(grid.where(*position) for key, position in grid.stated if key == draw.key)
        raise UserError(f"{where}: {draw.key} is drawn from a distribution; use launch/tune.py, or list its values")
    return _expand(grid, 1, 0, sets, only)


def sample(grid: Grid, samples: int, seed: int, sets: Sequence[str] = (), only: Sequence[str] = ()) -> Expansion:
    """The runs of a search: `samples` draws at each point of the product that has distributions.

    Each draw has its own generator, so more samples add runs and change none. A configuration that is drawn
    twice is run once. Raises `UserError` like `expand`.
    """
    if samples < 1 or seed < 0:
        raise UserError(f"a search needs at least 1 sample and a seed of at least 0, not {samples} and {seed}")
    return _expand(grid, samples, seed, sets, only)


def sources(grid: Grid) -> set[Path]:
    """The folders of the sweeps of which `init_from: {sweep: ...}` names runs."""
    spaces = [grid.space, *(part.space for part in grid.conditionals)]
    rows = [grid.fixed, *grid.include, *(row for space in spaces for axis in space.axes for row in axis)]
    given = [row.get("init_from") for row in rows] + [value for draw in _all_draws(grid) for value in draw.values]
    return {value.sweep.resolve() for value in given if isinstance(value, RunOf)}


def _all_draws(grid: Grid) -> list[Distribution]:
    return [*grid.space.draws, *(draw for part in grid.conditionals for draw in part.space.draws)]


def _expand(grid: Grid, samples: int, seed: int, sets: Sequence[str], only: Sequence[str]) -> Expansion:
    fixed = grid.fixed | _overrides(grid, sets)
    selection = [terms_of(text) for text in only]
    factors = [str(len(axis)) for axis in grid.space.axes] + [f"{samples} samples"] * bool(grid.space.draws)
    product = math.prod(len(axis) for axis in grid.space.axes) * (samples if grid.space.draws else 1)
    _check_count(grid, product)

    points, matched = _points(grid, fixed, samples, seed)
    kept = [run for run in points if not any(_matches(run.flat, when) for when in grid.exclude)]
    included = [_candidate(grid, fixed | entry, ("include", i)) for i, entry in enumerate(grid.include)]
    runs = _distinct(grid, kept + included)
    if not runs:
        raise UserError(f"{grid.where('exclude')}: the excludes leave no run; remove one of them")
    # With --set or random draws, a valid `when` or exclude may match no run this time.
    if not sets and not _all_draws(grid):
        _check_matches(grid, points, matched, runs)

    selected = [run for run in runs if not only or any(selects(terms, run.flat) for terms in selection)]
    if not selected:
        raise UserError(nothing_selected(only, selection, [run.flat for run in runs]))
    changes = {
        "+ {} conditional": len(points) - product,
        "- {} excluded": len(points) - len(kept),
        "+ {} included": len(included),
        "- {} drawn again": len(kept) + len(included) - len(runs),
    }
    varying = dict.fromkeys(key for key, position in grid.stated if position[0] != "fixed")
    arithmetic = _arithmetic(factors, product, changes, len(runs))
    return Expansion(
        runs=[Run(run.config, {key: run.flat[key] for key in varying}) for run in selected],
        arithmetic=f"{arithmetic}; {len(selected)} selected" if only else arithmetic,
    )


def _arithmetic(factors: list[str], product: int, changes: dict[str, int], total: int) -> str:
    terms = " ".join(text.format(count) for text, count in changes.items() if count)
    head = f"{' x '.join(factors)} = {product}" if len(factors) > 1 else str(product)
    runs = "run" if total == 1 else "runs"
    return f"{head}, {terms} = {total} {runs}" if terms else f"{head} {runs}"


def _check_count(grid: Grid, count: int) -> None:
    if count > MAX_RUNS:
        raise UserError(f"{grid.where()}: over {MAX_RUNS:,} runs; split the grid, or list fewer values or samples")


def _product(axes: tuple[Axis, ...]) -> Iterator[Values]:
    for rows in itertools.product(*axes):
        yield {key: value for row in rows for key, value in row.items()}


def _points(grid: Grid, fixed: Values, samples: int, seed: int) -> tuple[list[_Candidate], set[int]]:
    """The runs of the product, expanded by the conditionals they match, and the indices of these conditionals."""
    points: list[_Candidate] = []
    matched: set[int] = set()
    for index, row in enumerate(_product(grid.space.axes)):
        for number in range(samples):
            rng = np.random.default_rng([seed, index, number])
            point = fixed | row | {draw.key: draw.draw(rng) for draw in grid.space.draws}
            matching = _matching(grid, point)
            matched.update(matching)
            extra = sum((grid.conditionals[i].space for i in matching), Space())
            if number and not grid.space.draws and not extra.draws:
                break  # nothing is drawn at this point: all samples are equal
            for more in _product(extra.axes):
                drawn = {draw.key: draw.draw(rng) for draw in extra.draws}
                points.append(_candidate(grid, point | more | drawn, ()))
                _check_count(grid, len(points))
    return points, matched


def _matching(grid: Grid, point: Values) -> list[int]:
    """The indices of the conditionals that a point of the product matches."""
    if not grid.conditionals:
        return []
    flat = _candidate(grid, point, ()).flat
    matching = [i for i, part in enumerate(grid.conditionals) if _matches(flat, part.when)]
    setter: dict[str, int] = {}
    for key, position in grid.stated:
        if position[0] == "conditional" and position[1] in matching:
            if key in setter:
                first = grid.document.lines["conditional", setter[key]]
                message = f"{key} is set for the same runs by the conditional on line {first}; narrow one `when`"
                raise grid.document.error(position, message)
            setter[key] = int(position[1])
    return matching


def _matches(flat: Values, when: Values) -> bool:
    return all(flat[key] == value for key, value in when.items())


def _candidate(grid: Grid, values: Values, position: Position) -> _Candidate:
    try:
        built = with_digest(_built(values))
    except UserError as error:
        # The message begins with the key, which gives the line.
        key = str(error).partition(":")[0]
        stated = (at for name, at in grid.stated if name == key)
        raise grid.document.error(position or next(stated, ()), str(error)) from None
    return _Candidate(built, config.flatten(built), position)


def _built(values: Values) -> RunConfig:
    source = values.get("init_from")
    if not isinstance(source, RunOf):
        return config.build(config.unflatten(values))
    own = config.flatten(config.build(config.unflatten(values | {"init_from": None})))
    try:
        folder = source.folder(own)
    except UserError as error:
        raise UserError(f"init_from: {error}") from None
    return config.build(config.unflatten(values | {"init_from": str(folder)}))


def _distinct(grid: Grid, candidates: list[_Candidate]) -> list[_Candidate]:
    """The runs without duplicates. Drawing a run twice is chance; stating it twice is an error."""
    first: dict[str, _Candidate] = {}
    drawn = bool(_all_draws(grid))
    for run in candidates:
        other = first.setdefault(run.config.signature, run)
        if other is run or drawn:
            continue
        differing = [key for key, value in run.flat.items() if other.flat[key] != value]
        why = f" (they differ only in {', '.join(differing)}, which changes no result)" if differing else ""
        if run.position:
            line = grid.document.lines[other.position]
            same = f"the include on line {line}" if other.position else f"{other.config.name} of the product"
            raise grid.document.error(run.position, f"this include is the same run as {same}{why}; remove it")
        position = next((at for key, at in grid.stated if key in differing), ())
        raise grid.document.error(position, f"{run.config.name} is in the product twice{why}; keep one of the values")
    return list(first.values())


def _check_matches(grid: Grid, points: list[_Candidate], matched: set[int], runs: list[_Candidate]) -> None:
    """Refuse entries that match no run: they are misspelt or left over, and would mislead readers of the grid."""
    for index, _ in enumerate(grid.conditionals):
        if index not in matched:
            where = grid.where("conditional", index, "when")
            raise UserError(f"{where}: this `when` matches no run of the product; fix or remove it")
    for index, when in enumerate(grid.exclude):
        if not any(_matches(run.flat, when) for run in points):
            raise UserError(f"{grid.where('exclude', index)}: this exclude matches no run; fix or remove it")
    for index, entry in enumerate(grid.reference):
        if not any(_matches(run.flat, entry["when"]) for run in runs):
            where = grid.where("reference", index, "when")
            raise UserError(f"{where}: this `when` matches no run of the grid; fix or remove it")


def _overrides(grid: Grid, sets: Sequence[str]) -> Values:
    """The canonical values of `--set KEY=VALUE`."""
    overrides: Values = {}
    for text in sets:
        key, equals, written = text.partition("=")
        if not equals:
            raise UserError(f"--set {text} is not KEY=VALUE; write it as --set train.epochs=2")
        try:
            given = parse(written, f"--set {key}")
            spelled = None if isinstance(given, list | dict) else written.strip()
            new = {leaf: config.canonical(leaf, value, spelled) for leaf, value in _leaves(key, given)}
        except UserError as error:
            raise UserError(f"--set {text}: {error}") from None
        overrides |= new
        for stated, position in grid.stated:
            if stated in new and position[0] != "fixed":
                where = grid.where(*position)
                raise UserError(f"{where}: {stated} is in `{position[0]}`; select from it with --only, not --set")
    return overrides


def _leaves(key: str, given: Any) -> Iterator[tuple[str, Any]]:
    """The dotted keys and values of `--set 'optim={lr: 0.1}'`."""
    if isinstance(given, dict) and any(name.startswith(f"{key}.") for name in config.fields()):
        for name, value in given.items():
            yield from _leaves(f"{key}.{name}", value)
    else:
        yield key, given
