"""Load a grid file and check all that can be checked without expanding it into runs.

The keywords are those of wandb (`parameters`, `values`) and GitHub Actions (`include`, `exclude`):

    name: ablation
    fixed: {recipe: modern, task: artist}                # here a list is a value,
    parameters: {seed: [0, 1, 2]}                        # here it is an axis of the product, as is {range: [0, 3]}
    zip: [{model.recurrence: [none, lstm], model.attention: [none, se]}]     # varied together: one axis
    conditional: [{when: {model.attention: se}, parameters: {model.se_reduction: [8, 16]}}]
    exclude: [{model.recurrence: lstm, seed: 2}]
    include: [{seed: 7}]                                 # one more run: fixed and these keys
    baseline: {model.attention: none}                    # the model that the report compares the others with

A key of a run is a dotted path, or nested: `data: {shards: data/wikiart}` is `data.shards: data/wikiart`. A relative
path that does not exist in the working directory is looked for beside the grid file. `init_from: {sweep: runs/pretrain,
when: {task: style}}` is the run of another sweep with these values, `after: runs/pretrain` waits for all of its runs.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ValidationError

from artnet import config
from artnet.config import RunConfig, numeric
from artnet.config.document import Document, Position, of_text, read
from shards.errors import UserError
from shards.tasks import in_order

from . import earlier
from .on_end import on_end
from .space import Space, Values, assignments, parameters, partial, zipped

Block = TypeVar("Block", bound=BaseModel)

TOP_LEVEL = (
    *("name", "metric", "fixed", "parameters", "zip", "conditional", "exclude", "include", "reference", "baseline"),
    *("local", "slurm", "tune", "env_from", "after", "on_end"),
)
METRIC = {"name": "val/top1", "goal": "maximize", "scope": "best"}

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
NAME_RULE = "up to 100 letters, digits, '-', '_' and '.', not starting with '.'"

WHAT = "a grid's YAML file, such as sweeps/ablation.yaml"

# The blocks that assign values to keys, and the depth of these keys in the file.
_STATED_AT = {"fixed": 2, "parameters": 2, "zip": 3, "include": 3, "conditional": 4}


@dataclass(frozen=True)
class Conditional:
    """An extra product for the runs that match `when`."""

    when: Values
    space: Space


@dataclass(frozen=True)
class Grid:
    """The checked content of a grid file; every value is canonical."""

    document: Document
    name: str
    metric: dict[str, str]
    fixed: Values
    space: Space
    conditionals: tuple[Conditional, ...]
    exclude: tuple[Values, ...]
    include: tuple[Values, ...]
    reference: list[dict[str, Any]]  # published figures: {"when": {...}, "artist": 76.2}
    baseline: Values  # of the model that others are compared with; empty: the first
    local: dict[str, Any]  # this and the next two are unchecked: their engines check them
    slurm: dict[str, Any]
    tune: dict[str, Any]
    env_from: list[str]
    after: tuple[Path, ...]
    on_end: tuple[str, ...]

    @property
    def file(self) -> Path:
        """The grid file."""
        return self.document.file

    def where(self, *position: str | int) -> str:
        """`FILE:LINE` for errors: `grid.where("slurm", "partition")` is `sweeps/ablation.yaml:12`."""
        return self.document.where(*position)

    def read_block(
        self, model: type[Block], name: str, values: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> Block:
        """Validate an engine's block: the `values` under `name`, overridden by `overrides` from the command line.

        Overrides that are None are ignored. Raises `UserError` with the file and line of the key.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        self._check_numbers(model, name, values)
        try:
            return model.model_validate({**values, **given})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = str(first["loc"][0]) if first["loc"] else ""
            if first["type"] == "extra_forbidden":
                message = f"unknown key {key!r} in {name}; the keys are {', '.join(model.model_fields)}"
            else:
                written = None if key in given else self.document.written.get((name, key))
                message = f"{name}{'.' if key else ': '}{config.explain(error, written=written)}"
            where = f"--{key.replace('_', '-')}" if key in given else self.where(name, *([key] if key else []))
            raise UserError(f"{where}: {message}") from None

    def _check_numbers(self, model: type[BaseModel], name: str, values: Mapping[str, Any]) -> None:
        """Refuse what would become a number by accident, such as `max_parallel: yes`."""
        for key, field in model.model_fields.items():
            reads_itself = any(isinstance(mark, BeforeValidator) for mark in field.metadata)
            wanted = None if reads_itself else numeric.wanted(field.annotation)
            if wanted and key in values:
                try:
                    numeric.checked(values[key], wanted)
                except ValueError as error:
                    written = self.document.written.get((name, key), values[key])
                    raise self.document.error((name, key), f"{name}.{key}: {error}, not {written}") from None

    @property
    def stated(self) -> list[tuple[str, Position]]:
        """Every key that the file assigns a value, with its position, in file order."""
        return _stated(self.document)


@dataclass(frozen=True)
class Run:
    """One run of a grid, and its values of the keys that the grid varies, for tables."""

    config: RunConfig
    values: Values


@dataclass(frozen=True)
class Expansion:
    """The runs of a grid, and the arithmetic that explains their number: `2 x 3 = 6, - 1 excluded = 5 runs`."""

    runs: list[Run]
    arithmetic: str


def load(path: Path, text: str | None = None) -> Grid:
    """Load a grid file, or the `text` that it had once. Raises `UserError` with file and line for what is wrong."""
    document = read(path, WHAT) if text is None else of_text(path, text, WHAT)
    _check_is_grid(document)
    document = document.with_dotted_keys(_has_dotted_keys, config.fields())
    name, metric = _name(document), _metric(document)
    fixed = assignments(document, ("fixed",), document.block("fixed"))
    space = _whole_space(document)
    conditionals = tuple(_conditional(document, at, entry) for at, entry in document.entries("conditional"))
    exclude, include = (
        tuple(partial(document, at, entry) for at, entry in document.entries(block)) for block in ("exclude", "include")
    )
    tasks = _tasks(fixed, include, [space, *(conditional.space for conditional in conditionals)])
    grid = Grid(
        document=document,
        name=name,
        metric=metric,
        fixed=fixed,
        space=space,
        conditionals=conditionals,
        exclude=exclude,
        include=include,
        reference=[_reference(document, at, entry, tasks) for at, entry in document.entries("reference")],
        baseline=_baseline(document),
        local=document.block("local"),
        slurm=document.block("slurm"),
        tune=document.block("tune"),
        env_from=_env_from(document),
        after=earlier.after(document),
        on_end=on_end(document),
    )
    _check_stated_once(document)
    _check_when_keys(grid)
    return grid


def _check_is_grid(document: Document) -> None:
    """Refuse unknown blocks, those of a run's configuration with a sentence of their own."""
    keys = document.values.keys()
    run = [key for key in keys if key in config.RunConfig.model_fields or key in config.fields()]
    if run and keys.isdisjoint(TOP_LEVEL):
        example = f"write `fixed: {{{run[0]}: ...}}` to make it a grid"
        raise document.error(
            (run[0],), f"this is a run's configuration; give it to python -m artnet.train --config, or {example}"
        )
    if run:
        raise document.error((run[0],), f"unknown key {run[0]!r}; keys of a run go under `fixed` or `parameters`")
    document.check_keys((), keys, TOP_LEVEL)


def _has_dotted_keys(position: Position) -> bool:
    """Whether the keys of the mapping there are those of a run's configuration."""
    match position:
        case ("fixed" | "parameters" | "baseline",) | ("zip" | "exclude" | "include", int()):
            return True
        case ("conditional", int(), "when" | "parameters") | ("reference", int(), "when") | ("tune", "first", int()):
            return True
        case ("slurm", "overrides", int(), "when") | (*_, "init_from", "when") | (*_, "init_from", int(), "when"):
            return True
    return False


def _name(document: Document) -> str:
    name = document.values.get("name")
    if isinstance(name, str) and NAME.fullmatch(name):
        return name
    written = document.written.get(("name",))
    if written and name is not None and not isinstance(name, str):
        raise document.error(("name",), f'the name {written} is not text; quote it: `name: "{written}"`')
    problem = "the grid has no name" if name is None else f"{name!r} cannot name a folder"
    raise document.error(("name",), f"{problem}; write `name: ablation` ({NAME_RULE})")


def _stated(document: Document) -> list[tuple[str, Position]]:
    return [
        (str(position[-1]), position)
        for position in document.lines
        if position
        and len(position) == _STATED_AT.get(str(position[0]))
        and (position[0] != "conditional" or position[2] == "parameters")
    ]


def _whole_space(document: Document) -> Space:
    """The space of `parameters` and `zip`, in file order."""
    parts = {
        "parameters": parameters(document, ("parameters",), document.block("parameters")),
        "zip": Space(tuple(zipped(document, at, entry) for at, entry in document.entries("zip"))),
    }
    return sum((parts[block] for block in document.values if block in parts), Space())


def _conditional(document: Document, position: Position, given: Any) -> Conditional:
    entry = document.mapping(position, given)
    document.check_keys(position, entry, ("when", "parameters"))
    parts = {key: document.mapping((*position, key), entry.get(key)) for key in ("when", "parameters")}
    return Conditional(
        when=assignments(document, (*position, "when"), parts["when"]),
        space=parameters(document, (*position, "parameters"), parts["parameters"]),
    )


def _reference(document: Document, position: Position, given: Any, tasks: Sequence[str]) -> dict[str, Any]:
    entry = document.mapping(position, given)
    document.check_keys(position, entry, ("when", *tasks))
    figures = {task: entry[task] for task in tasks if task in entry}
    if not figures:
        raise document.error(position, f"a reference needs a figure; give one of {', '.join(tasks)}")
    for task, figure in figures.items():
        if not isinstance(figure, int | float) or isinstance(figure, bool) or not 0 <= figure <= 100:
            written = document.written.get((*position, task), repr(figure))
            raise document.error(
                (*position, task), f"{task} must be top-1 accuracy in per cent, 0 to 100, not {written}"
            )
    return {"when": partial(document, (*position, "when"), entry.get("when")), **figures}


def _baseline(document: Document) -> Values:
    given = document.block("baseline")
    return partial(document, ("baseline",), given) if given else {}


def _tasks(fixed: Values, include: Sequence[Values], spaces: Sequence[Space]) -> list[str]:
    """The tasks that runs of the grid may have, and those of ArtGAN."""
    points = [fixed, *include, *(point for space in spaces for axis in space.axes for point in axis)]
    given = [point["task"] for point in points if "task" in point]
    given += [tasks for space in spaces for draw in space.draws if draw.key == "task" for tasks in draw.values]
    return in_order([*config.TASKS, *(task for tasks in given for task in tasks)])


def _metric(document: Document) -> dict[str, str]:
    given = document.block("metric")
    choices = {"goal": ("maximize", "minimize"), "scope": ("best", "last")}
    document.check_keys(("metric",), given, ("name", *choices))
    for key, value in given.items():
        if key == "name" and (not isinstance(value, str) or not value):
            raise document.error(("metric", key), f"the name of a metric must be text such as val/top1, not {value!r}")
        if key in choices and value not in choices[key]:
            raise document.error(("metric", key), f"{key} must be {' or '.join(choices[key])}, not {value!r}")
    return METRIC | given


def _env_from(document: Document) -> list[str]:
    names = []
    for position, name in document.entries("env_from"):
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise document.error(position, "env_from lists names of environment variables, not their values")
        names.append(name)
    return names


def _check_stated_once(document: Document) -> None:
    """Two conditionals may set the same key if no run matches both; includes are independent."""
    first: dict[str, Position] = {}
    for key, position in _stated(document):
        if position[0] == "include":
            continue
        other = first.setdefault(key, position)
        if other is not position and not other[0] == position[0] == "conditional":
            message = f"{key} is given here and in `{other[0]}` on line {document.lines[other]}; keep one of them"
            raise document.error(position, message)


def _check_when_keys(grid: Grid) -> None:
    """Conditionals are matched against the product, so no `when` can match a key that a conditional sets."""
    extra = {key for key, position in grid.stated if position[0] == "conditional"}
    for index, conditional in enumerate(grid.conditionals):
        for key in conditional.when:
            if key in extra:
                message = (
                    f"{key} is set by a conditional, and `when` is matched before conditionals apply; match another key"
                )
                raise grid.document.error(("conditional", index, "when", key), message)
