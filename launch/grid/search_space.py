"""The space of a search: the points of the grid's lists, and at each of them the distributions of other keys."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from artnet import config
from shards.errors import UserError

from .candidates import Candidate, candidate, combinations, matches, matching, overrides
from .distributions import Distribution
from .earlier import RunOf
from .expand import MAX_RUNS, distributions, expand
from .schema import Grid, Run
from .space import Axis, Values, shown


@dataclass(frozen=True)
class Dimension:
    """A distribution of the space. `name` is its key, which several conditionals may set: then it names one of them."""

    name: str
    distribution: Distribution


class SearchSpace:
    """The configurations that a search may try; `sets` are those of the command line.

    The points of the grid's lists (`parameters` with values, `zip`) are compared with one another by a search, as a
    grid does: each is asked for in turn. The list of a conditional is one more choice.
    """

    def __init__(self, grid: Grid, sets: Sequence[str] = ()) -> None:
        """Raises `UserError` for a wrong `--set`, and for more than `MAX_RUNS` points."""
        self.grid = grid
        self.fixed = grid.fixed | overrides(grid, sets)
        if math.prod(len(axis) for axis in grid.space.axes) > MAX_RUNS:
            raise UserError(f"{grid.where()}: over {MAX_RUNS:,} points of lists; list fewer values")
        self.is_drawn = bool(distributions(grid))
        if not self.is_drawn:  # a grid: its runs are the points, of which nothing is drawn
            self.points, self.drawn = [run.values for run in expand(grid, sets).runs], []
            return
        self.points = list(combinations(grid.space.axes))
        listed = [_choice(axis) for part in grid.conditionals for axis in part.space.axes]
        self.drawn = [*distributions(grid), *listed]

    def stages(self, values: Values) -> Iterator[list[Dimension]]:
        """The dimensions at a point, in two stages: the second are those of the conditionals that match the first.

        The caller adds the values of the first to the `values` of the point before it asks for the second.
        """
        if not self.is_drawn:
            return
        yield [Dimension(draw.key, draw) for draw in self.grid.space.draws]
        second = []
        for index in matching(self.grid, self.fixed | values):
            space = self.grid.conditionals[index].space
            for draw in (*map(_choice, space.axes), *space.draws):
                second.append(Dimension(f"{draw.key} ({index + 1})", draw))
        yield second

    def random(self, point: int, number: int, seed: int, attempt: int = 0, given: Values | None = None) -> Values:
        """The random draw of this `number` at a point; another one for each `attempt`. What is `given` is not drawn."""
        values = dict(self.points[point])
        rng = np.random.default_rng([seed, point, number, *([attempt] if attempt else [])])
        for dimensions in self.stages(values):
            values |= {one.distribution.key: one.distribution.draw(rng) for one in dimensions}
            values |= {key: value for key, value in (given or {}).items() if key in values}
        return values

    def given(self, values: Mapping[str, Any]) -> Values:
        """The canonical form of values for keys that are drawn. Raises `UserError` for what the space does not hold."""
        found: Values = {}
        for key, value in values.items():
            drawn = [one for one in self.drawn if one.key == key]
            if not drawn:
                names = ", ".join(dict.fromkeys(one.key for one in self.drawn))
                raise UserError(f"{key} is not drawn in this search; give {names}")
            found[key] = config.canonical(key, value)
            if not any(one.contains(found[key]) for one in drawn):
                held = ", ".join(map(shown, drawn[0].values))
                raise UserError(f"{key}: {shown(value)} is outside of its {drawn[0].kind}: {held}")
        return found

    def candidate(self, values: Values) -> Candidate:
        """The run with these values of the varied keys. Raises `UserError` for values that no run can have."""
        return candidate(self.grid, self.fixed | values, ())

    def run(self, values: Values) -> Run:
        """The same as a run of the grid."""
        return self.candidate(values).run(self.grid)

    def is_excluded(self, flat: Values) -> bool:
        """Whether the grid's `exclude` leaves out a flat configuration."""
        return any(matches(flat, when) for when in self.grid.exclude)

    def place(self, flat: Values) -> tuple[int, Values] | None:
        """The point of a flat configuration and its values of the varied keys; None if the space does not hold them.

        What is not varied is not compared: a run is of this space if the run with these values has its signature.
        """
        for index, point in enumerate(self.points):
            if all(_means(value, flat, key) for key, value in point.items()):
                values = dict(point)
                if self._fill(values, flat) and not self.is_excluded(flat):
                    return index, values
        return None

    def _fill(self, values: Values, flat: Values) -> bool:
        """Add the values of what is drawn to those of a point. False if one of them is not in the space."""
        for dimensions in self.stages(values):
            for one in dimensions:
                key = one.distribution.key
                if one.distribution.kind == "choice":
                    held = [value for value in one.distribution.values if _means(value, flat, key)]
                else:
                    held = [flat[key]] if one.distribution.contains(flat[key]) else []
                if not held:
                    return False
                values[key] = held[0]
        return True


def _choice(axis: Axis) -> Distribution:
    """The list of a conditional, as one more choice."""
    [key] = axis[0]
    return Distribution(key, "choice", tuple(row[key] for row in axis))


def _means(value: Any, flat: Values, key: str) -> bool:
    """Whether a value of a grid is that of a flat configuration; that of an earlier run is its folder there."""
    if not isinstance(value, RunOf):
        return bool(flat[key] == value)
    try:
        return bool(str(value.folder(flat)) == flat[key])
    except UserError:
        return False
