"""Summarise the runs of a sweep as a table: models by tasks, averaged over seeds."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from shards.tasks import in_order

from ..config.attentions import ATTENTIONS
from ..result import TaskResult
from .results import Manifest, Run, Sweep, matches, printable
from .statistics import Estimate, estimate

_MODEL = ("model.backbone", "model.recurrence", "model.attention")


@dataclass(frozen=True)
class Cell:
    """One model on one task. `planned` counts the runs; `published` are the reference figures, in per cent."""

    planned: int
    scores: tuple[TaskResult, ...]
    published: tuple[float, ...]

    @property
    def estimate(self) -> Estimate | None:
        """Test top-1 over seeds; None if no run is complete."""
        if not self.scores:
            return None
        return estimate([score.test.top1 for score in self.scores], self.scores[0].test.n)

    @property
    def val_top1(self) -> float:
        """Mean val top-1 over seeds. Requires at least one score."""
        return fmean(score.val.top1 for score in self.scores)

    @property
    def macro_f1(self) -> float:
        """Mean test macro-F1 over seeds. Requires at least one score."""
        return fmean(score.test.macro_f1 for score in self.scores)

    @property
    def images(self) -> list[int]:
        """The distinct numbers of test images, sorted: a single one if all runs had the same data."""
        return sorted({score.test.n for score in self.scores})


@dataclass(frozen=True)
class Group:
    """The runs of one model: equal in every varied key except `seed` and `task`."""

    label: str
    runs: list[Run]
    cells: dict[str, Cell]


@dataclass(frozen=True)
class Summary:
    """The table: a row per group, in the order of the manifest, and columns per task.

    `baseline` is the position of the group that others are compared with: the one that the grid names, or the first.
    """

    tasks: list[str]
    groups: list[Group]
    baseline: int = 0

    @property
    def has_published(self) -> dict[str, bool]:
        """For each task, whether there is a published figure to compare with."""
        return {task: any(cell.published for cell in self.column(task)) for task in self.tasks}

    def column(self, task: str) -> list[Cell]:
        """The cells of one task."""
        return [group.cells[task] for group in self.groups if task in group.cells]

    def majority(self, task: str) -> list[float]:
        """The distinct test shares of the most common class, sorted: a single one if all runs had the same data."""
        return sorted({score.majority for cell in self.column(task) for score in cell.scores})

    def majority_classes(self, task: str) -> list[str]:
        """The distinct names of that class, as far as the results have them: earlier versions left it out."""
        names = {printable(score.majority_class) for cell in self.column(task) for score in cell.scores}
        return sorted(names - {""})


def summarise(sweep: Sweep) -> Summary:
    """Group the runs of a sweep and average each group's seeds."""
    grouped: dict[str, list[Run]] = defaultdict(list)
    for run in sweep.runs:
        grouped[json.dumps([_group_values(run), _heads(run)], sort_keys=True)].append(run)
    heads_differ = len({_heads(run) for run in sweep.runs}) > 1
    groups = [Group(_label(runs[0], heads_differ), runs, _cells(runs, sweep.manifest)) for runs in grouped.values()]
    named = (
        at for at, group in enumerate(groups) if any(matches(run.config, sweep.manifest.baseline) for run in group.runs)
    )
    return Summary(in_order(task for run in sweep.runs for task in run.tasks), groups, next(named, 0))


def _group_values(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.values.items() if key not in ("seed", "task")}


def _heads(run: Run) -> tuple[str, ...]:
    """The tasks trained together, if several: a network with several heads is a different model."""
    return run.tasks if len(run.tasks) > 1 else ()


def _cells(runs: list[Run], manifest: Manifest) -> dict[str, Cell]:
    cells = {}
    for task in in_order(task for run in runs for task in run.tasks):
        planned = [run for run in runs if task in run.tasks]
        scores = [run.scores[task] for run in planned if task in run.scores]
        published = [
            reference.figures[task]
            for reference in manifest.reference
            if task in reference.figures and any(reference.matches(run.config) for run in planned)
        ]
        cells[task] = Cell(len(planned), tuple(scores), tuple(published))
    return cells


def _label(run: Run, heads_differ: bool) -> str:
    """The model's usual name with all other varied keys, as in "ResNet50-LSTM + SE (optim.lr=0.1)"."""
    named = all(key in run.config for key in _MODEL)
    others = [setting(key, of) for key, of in _group_values(run).items() if not (named and key in _MODEL)]
    if heads_differ and _heads(run):
        others.append(f"{value(list(run.tasks))} together")
    if not named:
        return ", ".join(others) or "all runs"
    return f"{_model_name(run.config)} ({', '.join(others)})" if others else _model_name(run.config)


def _model_name(config: Mapping[str, Any]) -> str:
    backbone, recurrence, attention = (str(config[key]) for key in _MODEL)
    name = backbone.replace("resnet", "ResNet")
    if recurrence != "none":
        name += f"-{recurrence.upper()}"
    if attention != "none":
        name += f" + {ATTENTIONS[attention].label if attention in ATTENTIONS else attention}"
    return printable(name)


def value(of: Any) -> str:
    """Format a value of a configuration for people."""
    return printable(" + ".join(map(str, of)) if isinstance(of, list) else of)


def setting(key: str, of: Any) -> str:
    """Format a key and its value, as in `optim.lr=0.1`."""
    return f"{printable(key)}={value(of)}"
