"""The answer: for each task a sentence with effect, interval and decision, and the table of all models."""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import wording
from ..comparison.difference import Difference
from ..comparison.wording import sentence
from ..summary import Summary
from .differences import TaskModels


def answer(summary: Summary, models: Mapping[str, TaskModels], baseline: int) -> dict[str, Any]:
    """The sentences by task, and the table: its header, rows, which cells are bold, and the task of each column."""
    return {
        "sentences": {task: _said(summary, models[task], baseline) for task in summary.tasks},
        "table": table(summary, models, baseline),
    }


def _said(summary: Summary, models: TaskModels, baseline: int) -> str:
    return " ".join(filter(None, [decision(models, baseline), wording.against_majority(summary, models.task)]))


def decision(models: TaskModels, baseline: int) -> str:
    """The best model against the baseline; the next best one where that is the baseline."""
    best, top1 = models.best, models.top1
    if best is None:
        return "No run is complete yet."
    found = models.against(baseline)
    name = models.groups[baseline].label
    if len(top1) < 2 or not found:
        alone = f"{models.groups[best].label} has {_mean(top1[best])} % test top-1"
        return f"{alone}; " + (f"{name} has no result yet." if baseline not in top1 else "no other model has a result.")
    if best == baseline:
        nearest = max(found, key=lambda model: sum(top1[model]) / len(top1[model]))
        return f"No model is above {name}. The nearest: {sentence(found[nearest])}{_level(models, nearest)}"
    return f"{sentence(found[best])}{_level(models, baseline)}"


def _mean(shares: Sequence[float]) -> str:
    return wording.percent(sum(shares) / len(shares))


def _level(models: TaskModels, named: int) -> str:
    """Which models cannot be told from the best, but for the one that the sentence before compares with it."""
    level = [models.groups[of].label for of in sorted(models.level_with_best - {models.best, named})]
    if not level:
        return ""
    names = ", ".join(level[:3]) + (f" and {len(level) - 3} more" if len(level) > 3 else "")
    best = models.groups[models.best or 0].label
    return f" {names} cannot be told from {best}." if best not in level else ""


def table(summary: Summary, models: Mapping[str, TaskModels], baseline: int) -> dict[str, Any]:
    """Cells as text, in per cent and points. `task` is that of each column, None for the first."""
    header = ["model"]
    tasks: list[str | None] = [None]
    rows = [[group.label] for group in summary.groups]
    bold = [[False] for _ in summary.groups]
    last = ["majority class"]
    for task in summary.tasks:
        has_published = summary.has_published[task]
        header += ["test top-1, %", "above the baseline, points", "seeds"]
        header += ["published, %"] if has_published else []
        found = models[task].against(baseline)
        for model, group in enumerate(summary.groups):
            cell = group.cells.get(task)
            cells = [wording.NOTHING] * 3
            if cell:
                cells = [wording.with_error(cell.estimate), points(found.get(model)), wording.seeds(cell)]
            cells += [wording.published(cell) if cell else wording.NOTHING] if has_published else []
            if model == baseline and cell:
                cells[1] = "baseline"
            rows[model] += cells
            bold[model] += [model in models[task].level_with_best, *[False] * (len(cells) - 1)]
        width = 4 if has_published else 3
        last += [wording.majority(summary, task), *[""] * (width - 1)]
        tasks += [task] * width
    return {
        "header": header,
        "rows": [*rows, last],
        "bold": [*bold, [False] * len(header)],
        "task": tasks,
    }


def points(one: Difference | None) -> str:
    """A difference in points with its interval, as in "+5.20 (3.90 to 6.50)"; what it covers if not trainings."""
    if one is None:
        return wording.NOTHING
    mean = f"{100 * one.mean:+.2f}"
    if one.interval is None:
        return mean
    low, high = (f"{100 * bound:+.2f}" for bound in one.interval)
    return f"{mean} ({low} to {high}{', over paintings' if one.error == 'paintings' else ''})"
