"""The space that a grid covers: axes that are multiplied out, and distributions that a search draws from."""

import reprlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

from artnet import config
from artnet.config.document import Document, Position
from artnet.config.paths import beside
from shards.errors import UserError

from . import ranges
from .distributions import Distribution, Kind
from .earlier import RunOf, sweep_folder

MAX_AXIS = 1_000
TWO = "two bounds, the lower one first"
BOUNDS = {
    "uniform": TWO,
    "loguniform": TWO,
    "randint": f"{TWO}, both of which count",
    "quantized": f"{TWO}, and a step",
}

Values = dict[str, Any]  # dotted path -> canonical value
Axis = tuple[Values, ...]  # the points of an axis; those of a zip have several keys


@dataclass(frozen=True)
class Space:
    """A product of axes and, in a search, the distributions to draw from at each of its points."""

    axes: tuple[Axis, ...] = ()
    draws: tuple[Distribution, ...] = ()

    def __add__(self, other: "Space") -> "Space":
        return Space(self.axes + other.axes, self.draws + other.draws)


def _canonical(document: Document, position: Position, key: str, value: Any) -> Any:
    if key == "init_from" and isinstance(value, dict):
        return _run_of(document, position, value)
    if key in config.PATHS:
        value = beside(value, document.file.parent)
    try:
        return config.canonical(key, value, document.written.get(position))
    except UserError as error:
        raise document.error(position, str(error)) from None


def _run_of(document: Document, position: Position, given: dict[str, Any]) -> RunOf:
    """The run of another sweep that `init_from` means. Raises `UserError` with file and line."""
    if position[0] in ("exclude", "slurm") or "when" in position:
        raise document.error(position, "a `when` matches the folder of a run; write its path as init_from")
    document.check_keys(position, given, ("sweep", "when"))
    if "sweep" not in given:
        raise document.error(position, "init_from names no sweep; write `init_from: {sweep: runs/NAME, when: {...}}`")
    sweep = sweep_folder(document, (*position, "sweep"), given["sweep"])
    return RunOf(sweep, partial(document, (*position, "when"), given["when"]) if "when" in given else {})


def assignments(document: Document, position: Position, given: dict[str, Any]) -> Values:
    """The canonical values of keys with one value each."""
    return {key: _canonical(document, (*position, key), key, value) for key, value in given.items()}


def partial(document: Document, position: Position, given: Any) -> Values:
    """The values of some keys: to match, in an exclude or a `when`, or to add, in an include."""
    return assignments(document, position, document.mapping(position, given))


def _list(document: Document, position: Position, key: str, given: Any) -> list[Any]:
    """The canonical values of a list or a range: an axis, or one key of a zip."""
    if key not in config.fields():
        raise document.error(position, config.unknown_key(key))
    given = ranges.listed(document, position, given, MAX_AXIS)
    if not isinstance(given, list):
        raise document.error(
            position, f"{key} needs a list of values, not {reprlib.repr(given)}; put a single value in `fixed`"
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
    """The space of a `parameters` block: for each key a list of values, a range or a distribution.

    Raises `UserError` with file and line.
    """
    axes: list[Axis] = []
    draws: list[Distribution] = []
    for key, value in given.items():
        at = (*position, key)
        kind: Literal["values"] | Kind = "values"
        if isinstance(value, dict):
            kinds = ("values", *ranges.KINDS, *get_args(Kind))
            document.check_keys(at, value, kinds)
            if len(value) != 1:
                raise document.error(at, f"{key} takes exactly one of {', '.join(kinds)}; keep one")
            if next(iter(value)) not in ranges.KINDS:
                [(kind, value)] = value.items()
                at = (*at, kind)
        if kind in BOUNDS and not isinstance(value, list):
            raise document.error(at, f"{kind} needs {BOUNDS[kind]}, not {reprlib.repr(value)}")
        step = [value[2]] if kind == "quantized" and len(value) == 3 else []  # no value of the key
        values = [*_list(document, at, key, value[:2] if step else value), *step]
        if kind in BOUNDS:
            _check_bounds(document, at, key, kind, values)
        else:
            _check_distinct(document, at, values)
        if kind == "values":
            axes.append(tuple({key: value} for value in values))
        else:
            draws.append(Distribution(key, kind, tuple(values)))
    return Space(tuple(axes), tuple(draws))


def _check_bounds(document: Document, position: Position, key: str, kind: str, bounds: list[Any]) -> None:
    if any(not isinstance(bound, int | float) or isinstance(bound, bool) for bound in bounds):
        raise document.error(position, f"{key} is not a number; draw it from a `choice: [...]`")
    if len(bounds) != (3 if kind == "quantized" else 2) or not bounds[0] < bounds[1]:
        raise document.error(position, f"{kind} needs {BOUNDS[kind]}, not {shown(bounds)}")
    if kind == "loguniform" and bounds[0] <= 0:
        raise document.error(position, f"loguniform needs bounds above 0, not {shown(bounds)}; use uniform")
    if kind == "quantized" and not 0 < bounds[2] <= bounds[1] - bounds[0]:
        raise document.error(position, f"the step of quantized must be above 0 and within the bounds: {shown(bounds)}")
    if kind == "randint" and any(bound % 1 for bound in bounds):
        raise document.error(position, f"randint needs whole bounds, not {shown(bounds)}; use uniform or quantized")


def zipped(document: Document, position: Position, given: Any) -> Axis:
    """The axis of an entry of `zip`: keys that vary together, with lists of equal length."""
    columns = {
        key: _list(document, (*position, key), key, values) for key, values in document.mapping(position, given).items()
    }
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise document.error(position, f"zipped keys need lists of equal length, but {found}; make them equal")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    for index, row in enumerate(rows):
        if row in rows[:index]:
            values = ", ".join(f"{key}={shown(value)}" for key, value in row.items())
            raise document.error((*position, next(iter(row)), index), f"the zip has {values} twice; keep one of them")
    return tuple(rows)


def shown(value: Any) -> str:
    """A canonical value as written in a selection."""
    if isinstance(value, list):
        return "+".join(shown(item) for item in value)
    return "null" if value is None else str(value)
