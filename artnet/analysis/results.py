"""Read a sweep's folder: the planned runs of its manifest, and the state and result of each. Never writes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shards.errors import UserError
from shards.files import read_bounded
from shards.tasks import in_order, is_task

from .. import config as run_config
from ..formats import FORMAT, NewerFormatError, check_format
from ..result import Result, TaskResult
from ..rundir import MAX_MANIFEST, RunDir, parse_object

MANIFEST_NAME = "manifest.json"


class Reference(BaseModel):
    """A published result: test top-1 in per cent for configurations that have every value of `when`."""

    when: dict[str, Any]
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[run_config.Task, Annotated[float | None, Field(ge=0, le=100)]]

    @property
    def figures(self) -> dict[str, float]:
        """The figure of each task that has one."""
        return {task: figure for task, figure in self.__pydantic_extra__.items() if figure is not None}

    def matches(self, config: Mapping[str, Any]) -> bool:
        """Whether a flat configuration has every value of `when`."""
        return matches(config, self.when)


class PlannedRun(BaseModel):
    """A run of the manifest; `values` holds every key that varies over the sweep."""

    name: str
    signature: str
    values: dict[str, Any]

    @field_validator("name")
    @classmethod
    def _is_a_folder_name(cls, name: str) -> str:
        if not name.isprintable() or name in ("", "..") or Path(name).name != name:
            raise ValueError("should be the name of a folder in the sweep's folder")
        return name


class Metric(BaseModel):
    """What a search improves: a name in `metrics.jsonl`, and whether a run's `best` epoch or its `last` one counts."""

    name: str = "val/top1"
    goal: Literal["maximize", "minimize"] = "maximize"
    scope: Literal["best", "last"] = "best"


class Manifest(BaseModel):
    """`manifest.json`: the runs that a launcher planned."""

    format: int = FORMAT
    name: str
    grid: str = ""
    arithmetic: str = ""
    metric: Metric = Metric()
    reference: list[Reference] = []
    baseline: dict[str, Any] = {}
    runs: list[PlannedRun] = Field(min_length=1)


@dataclass(frozen=True)
class Run:
    """A planned run with its state and result. `result` is not None exactly if `state` is "complete"."""

    directory: RunDir
    values: dict[str, Any]  # canonical
    config: dict[str, Any]  # dotted path -> JSON value; incomplete if there is no config.yaml
    tasks: tuple[str, ...]
    state: str
    reason: str
    result: Result | None

    @property
    def name(self) -> str:
        """The name of the run and of its folder."""
        return self.directory.name

    @property
    def scores(self) -> dict[str, TaskResult]:
        """The run's scores on each task; empty unless it is complete."""
        return {str(task): scores for task, scores in self.result.tasks.items()} if self.result else {}

    @property
    def has_folder(self) -> bool:
        """Whether there is a folder to link to."""
        return _is_folder(self.directory.path)


@dataclass(frozen=True)
class Sweep:
    """A grid of runs, in the order of the manifest."""

    folder: Path
    manifest: Manifest
    runs: list[Run]

    @property
    def varied(self) -> list[str]:
        """The keys that vary over the sweep, in the order of the manifest."""
        return list(dict.fromkeys(key for run in self.runs for key in run.values))

    def link(self, run: Run) -> str:
        """The URL of a run's folder, relative to the sweep's; empty if there is no folder."""
        if not run.has_folder:
            return ""
        path = os.path.relpath(run.directory.path.absolute(), self.folder.absolute())
        return f"{quote(path if path.startswith('..') else f'./{path}')}/"


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep. A run with broken files counts as failed or missing.

    Raises `UserError` if the folder or its manifest is missing or broken.
    """
    manifest = _read_manifest(folder)
    directories = [RunDir(folder / planned.name) for planned in manifest.runs]
    configs = [_config(directory) for directory in directories]
    # Runs differ only in their `values`, so a missing config.yaml can be reconstructed from that of any other run.
    base = next((config for config in configs if config), {})
    runs = []
    for planned, directory, config in zip(manifest.runs, directories, configs, strict=True):
        values = {key: canonical(key, value) for key, value in planned.values.items()}
        known = config or base | values
        result = directory.result(planned.signature)
        runs.append(Run(directory, values, known, _tasks(known, result), *_state(directory, result), result))
    return Sweep(folder, manifest, runs)


def matches(config: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether a flat configuration has all of these values."""
    return all(key in config and canonical(key, value) == config[key] for key, value in values.items())


def canonical(key: str, value: Any) -> Any:
    """Convert a value to its form in the configuration. Keys that only an older version knew keep their value."""
    try:
        return run_config.canonical(key, value)
    except UserError:
        return value


def printable(value: object) -> str:
    """Convert untrusted content of a file to text on one line without control characters."""
    return " ".join("".join(char if char.isprintable() else " " for char in str(value)).split())


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST_NAME
    try:
        content = read_bounded(path, MAX_MANIFEST)
        check_format(path, parse_object(content) or {})
        return Manifest.model_validate_json(content)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give the folder of a planned sweep, runs/NAME"
        ) from None
    except ValidationError as error:
        raise UserError(
            f"{path} is broken ({run_config.explain(error)}); run the sweep's launcher again to rewrite it"
        ) from None


def _config(directory: RunDir) -> dict[str, Any]:
    try:
        return run_config.flatten(directory.config())
    except NewerFormatError:
        raise
    except UserError:
        return {}


def _tasks(config: Mapping[str, Any], result: Result | None) -> tuple[str, ...]:
    planned = config.get("task")
    known = [*(planned if isinstance(planned, list) else []), *(result.tasks if result else [])]
    return tuple(in_order(task for task in known if is_task(task)))


def _state(directory: RunDir, result: Result | None) -> tuple[str, str]:
    """The run's state and the reason for it. Only a valid result makes it complete."""
    if result:
        return "complete", ""
    if not _is_folder(directory.path):
        return "missing", "not started"
    if error := directory.unreadable():
        return "cannot be read", printable(f"{error.filename}: {error.strerror}")
    saved = directory.state()
    state = printable(saved.state)
    if not state:
        return "missing", "not started"
    if state == "complete":
        return "failed", directory.lost_result
    return state, printable(saved.reason)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to a folder without permission
        return False
