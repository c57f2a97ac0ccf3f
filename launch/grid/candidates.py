"""The steps from a grid's values to the configuration of a run, shared by grids and searches."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from artnet import config
from artnet.config import RunConfig
from artnet.config.document import Position, parse
from artnet.weights import with_digest
from shards.errors import UserError

from .earlier import RunOf
from .schema import Grid, Run
from .space import Axis, Values


@dataclass(frozen=True)
class Candidate:
    """A run that may still be dropped: its configuration, the same flattened, and the position of its include."""

    config: RunConfig
    flat: Values
    position: Position

    def run(self, grid: Grid) -> Run:
        """The run, with its values of the keys that the grid varies."""
        varying = dict.fromkeys(key for key, position in grid.stated if position[0] != "fixed")
        return Run(self.config, {key: self.flat[key] for key in varying})


def combinations(axes: tuple[Axis, ...]) -> Iterator[Values]:
    """The points of the product of axes, in the order of the file."""
    for rows in itertools.product(*axes):
        yield {key: value for row in rows for key, value in row.items()}


def matching(grid: Grid, point: Values) -> list[int]:
    """The indices of the conditionals that a point of the product matches."""
    if not grid.conditionals:
        return []
    flat = candidate(grid, point, ()).flat
    found = [i for i, part in enumerate(grid.conditionals) if matches(flat, part.when)]
    setter: dict[str, int] = {}
    for key, position in grid.stated:
        if position[0] == "conditional" and position[1] in found:
            if key in setter:
                first = grid.document.lines["conditional", setter[key]]
                message = f"{key} is set for the same runs by the conditional on line {first}; narrow one `when`"
                raise grid.document.error(position, message)
            setter[key] = int(position[1])
    return found


def matches(flat: Values, when: Values) -> bool:
    """Whether a flat configuration has all these values."""
    return all(flat[key] == value for key, value in when.items())


def candidate(grid: Grid, values: Values, position: Position) -> Candidate:
    """Build a run of these values. Raises `UserError` with the line of the key that is wrong."""
    try:
        built = with_digest(_built(values))
    except UserError as error:
        # The message begins with the key, which gives the line.
        key = str(error).partition(":")[0]
        stated = (at for name, at in grid.stated if name == key)
        raise grid.document.error(position or next(stated, ()), str(error)) from None
    return Candidate(built, config.flatten(built), position)


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


def overrides(grid: Grid, sets: Sequence[str]) -> Values:
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
