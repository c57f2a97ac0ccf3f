"""What a grid varies: axes that are multiplied out, and distributions that a search draws from."""

import math
import reprlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from artnet import config
from shards.errors import UserError

from .document import Document, Position

MAX_AXIS = 1_000

Kind = Literal["uniform", "loguniform", "choice"]
Values = dict[str, Any]  # dotted path -> canonical value
Axis = tuple[Values, ...]  # what the axis runs through; a zip's entries have several keys


@dataclass(frozen=True)
class Distribution:
    """What a search draws a key's values from: two bounds, or the values to choose among."""

    key: str
    kind: Kind
    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """One value; a field of whole numbers gets the nearest."""
        if self.kind == "choice":
            return self.values[rng.integers(len(self.values))]
        low, high = self.values
        if self.kind == "uniform":
            drawn = rng.uniform(low, high)
        else:
            # There and back through the logarithm, rounding can leave the bounds.
            drawn = min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)
        # Four digits are all that a search can tell apart, and all that a person reads.
        return round(drawn) if isinstance(low, int) else min(max(float(f"{drawn:.4g}"), low), high)


@dataclass(frozen=True)
class Space:
    """What varies: a product of axes and, in a search, what is drawn at each of its points."""

    axes: tuple[Axis, ...] = ()
    draws: tuple[Distribution, ...] = ()

    def __add__(self, other: "Space") -> "Space":
        return Space(self.axes + other.axes, self.draws + other.draws)


def _canonical(document: Document, position: Position, key: str, value: Any) -> Any:
    try:
        return config.canonical(key, value)
    except UserError as error:
        raise document.error(position, str(error)) from None


def assignments(document: Document, position: Position, given: dict[str, Any]) -> Values:
    """Keys with one value each, made canonical."""
    return {key: _canonical(document, (*position, key), key, value) for key, value in given.items()}


def partial(document: Document, position: Position, given: Any) -> Values:
    """The values of some keys: an exclude's or a `when`'s to match, an include's to add."""
    return assignments(document, position, document.mapping(position, given))


def _list(document: Document, position: Position, key: str, given: Any) -> list[Any]:
    """The canonical values in a list that is an axis, or one key's part of a zip."""
    if key not in config.fields():
        raise document.error(position, config.unknown_key(key))
    if not isinstance(given, list):
        raise document.error(
            position, f"{key} wants a list of values, not {reprlib.repr(given)}; one value belongs in `fixed`"
        )
    if not given:
        raise document.error(position, f"{key} has no values; list some or remove it")
    if len(given) > MAX_AXIS:
        raise document.error(position, f"{key} has {len(given):,} values; an axis holds at most {MAX_AXIS:,}")
    return [_canonical(document, (*position, index), key, value) for index, value in enumerate(given)]


def _check_distinct(document: Document, position: Position, values: list[Any]) -> None:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise document.error((*position, index), f"{shown(value)} is listed twice; keep one of them")


def parameters(document: Document, position: Position, given: dict[str, Any]) -> Space:
    """The space of a `parameters` block: under each key a list of values, or a distribution.

    Raises `UserError` with file and line, as all that reads a grid does.
    """
    axes: list[Axis] = []
    draws: list[Distribution] = []
    for key, value in given.items():
        at = (*position, key)
        kind: Literal["values"] | Kind = "values"
        if isinstance(value, dict):
            document.check_keys(at, value, ("values", *get_args(Kind)))
            if len(value) != 1:
                raise document.error(at, f"{key} wants one of values, {', '.join(get_args(Kind))}; keep one")
            [(kind, value)] = value.items()
            at = (*at, kind)
        values = _list(document, at, key, value)
        if kind in ("values", "choice"):
            _check_distinct(document, at, values)
        else:
            _check_bounds(document, at, key, kind, values)
        if kind == "values":
            axes.append(tuple({key: value} for value in values))
        else:
            draws.append(Distribution(key, kind, tuple(values)))
    return Space(tuple(axes), tuple(draws))


def _check_bounds(document: Document, position: Position, key: str, kind: str, bounds: list[Any]) -> None:
    if any(not isinstance(bound, int | float) or isinstance(bound, bool) for bound in bounds):
        raise document.error(position, f"{key} is not a number; draw it from a `choice: [...]`")
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise document.error(position, f"{kind} wants two bounds, the lower one first, not {shown(bounds)}")
    if kind == "loguniform" and bounds[0] <= 0:
        raise document.error(position, f"loguniform wants bounds above 0, not {shown(bounds)}; use uniform")


def zipped(document: Document, position: Position, given: Any) -> Axis:
    """The one axis of an entry of `zip`: keys whose lists have one length, and move together."""
    columns = {
        key: _list(document, (*position, key), key, values) for key, values in document.mapping(position, given).items()
    }
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise document.error(position, f"keys that are zipped have lists of one length, but {told}; even them out")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for index, row in enumerate(rows):
        if row in rows[:index]:
            told = ", ".join(f"{key}={shown(value)}" for key, value in row.items())
            raise document.error((*position, next(iter(row)), index), f"the zip has {told} twice; keep one of them")
    return tuple(rows)


def shown(value: Any) -> str:
    """A canonical value as a person would write it in a selection."""
    if isinstance(value, list):
        return "+".join(shown(item) for item in value)
    return "null" if value is None else str(value)
