"""The geometry of the page's figures, in per cent of their width and height, so that they fit any screen."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeGuard

from . import wording
from .results import Run
from .summary import Cell, Group, Summary

COLOURS, DASHES = 8, 3  # as many as the page's style sheet has
PLOTTED = 1e6  # a curve that goes beyond would show nothing else


@dataclass(frozen=True)
class Axis:
    """A stretch of numbers; `ticks` are the places and labels of the round ones in it."""

    low: float
    high: float
    ticks: list[tuple[float, str]]

    def at(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 100 at the high one."""
        return _place(value, self.low, self.high)


@dataclass(frozen=True)
class Dots:
    """A model's line in a dot plot, its places in per cent of the width: none before a run is complete."""

    label: str
    value: str
    style: str
    seeds: list[float]
    mean: list[float]
    interval: list[tuple[float, float]]
    published: list[float]


@dataclass(frozen=True)
class DotPlot:
    """Test top-1, in per cent, of every model on one task."""

    task: str
    axis: Axis
    rows: list[Dots]


@dataclass(frozen=True)
class Curve:
    """One run's line in a chart; `points` as SVG has them, y downwards."""

    run: str
    style: str
    points: str


@dataclass(frozen=True)
class Chart:
    """Curves over epochs."""

    title: str
    x: Axis
    y: Axis
    curves: list[Curve]


def round_axis(values: Iterable[float]) -> Axis:
    """An axis around the values that begins and ends with round numbers."""
    low, high = _ends(values)
    step = _step(high - low)
    return _axis(math.floor(low / step) * step, math.ceil(high / step) * step, step)


def epoch_axis(epochs: Iterable[float]) -> Axis:
    """An axis from the first to the last epoch, with whole numbers on it."""
    low, high = _ends(epochs)
    return _axis(low, high, max(1.0, _step(high - low)))


def style(position: int) -> str:
    """The classes that give the model at this position its colour and dashes; 24 models look different."""
    return f"c{position % COLOURS} d{position // COLOURS % DASHES}"


def dot_plots(summary: Summary) -> list[DotPlot]:
    """One plot per task that has something to show."""
    return [plot for task in summary.tasks if (plot := _dot_plot(summary, task))]


def charts(summary: Summary) -> list[Chart]:
    """Val top-1 over epochs for each task, and the training loss for each set of tasks learned together."""
    lines = [
        _Line(run, style(position), run.directory.epochs())
        for position, group in enumerate(summary.groups)
        for run in group.runs
    ]
    drawn = []
    for task in summary.tasks:
        shown = [line for line in lines if task in line.run.tasks]
        drawn.append(_chart(f"{task}: val top-1, per cent", shown, f"val/{task}/top1", 100))
    for tasks in dict.fromkeys(line.run.tasks for line in lines):
        shown = [line for line in lines if line.run.tasks == tasks]
        drawn.append(_chart(f"{' + '.join(tasks)}: training loss", shown, "train/loss", 1))
    return [chart for chart in drawn if chart]


@dataclass(frozen=True)
class _Line:
    run: Run
    style: str
    epochs: list[dict[str, Any]]


def _chart(title: str, lines: list[_Line], key: str, scale: float) -> Chart | None:
    drawn = [(line, series) for line in lines if (series := _series(line.epochs, key, scale))]
    if not drawn:
        return None
    points = [point for _, series in drawn for point in series]
    x, y = epoch_axis(epoch for epoch, _ in points), round_axis(value for _, value in points)
    return Chart(title, x, y, [Curve(line.run.name, line.style, _polyline(series, x, y)) for line, series in drawn])


def _dot_plot(summary: Summary, task: str) -> DotPlot | None:
    cells = [
        (position, group, group.cells[task]) for position, group in enumerate(summary.groups) if task in group.cells
    ]
    numbers = [number for _, _, cell in cells for number in _numbers(cell)]
    if not numbers:
        return None
    axis = round_axis(numbers)
    return DotPlot(task, axis, [_dots(group, cell, style(position), axis) for position, group, cell in cells])


def _numbers(cell: Cell) -> list[float]:
    """Every number a cell has to show, in per cent. A seed can lie outside the interval of the mean."""
    estimate = cell.estimate
    ends = [100 * estimate.low, 100 * estimate.high] if estimate else []
    return [*ends, *(100 * score.test.top1 for score in cell.scores), *cell.published]


def _dots(group: Group, cell: Cell, look: str, axis: Axis) -> Dots:
    estimate = cell.estimate
    return Dots(
        label=group.label,
        value=wording.spread(estimate),
        style=look,
        seeds=[axis.at(100 * score.test.top1) for score in cell.scores],
        mean=[axis.at(100 * estimate.mean)] if estimate else [],
        interval=[(axis.at(100 * estimate.low), axis.at(100 * estimate.high))] if estimate else [],
        published=[axis.at(figure) for figure in cell.published],
    )


def _series(epochs: list[dict[str, Any]], key: str, scale: float) -> list[tuple[float, float]]:
    """The pairs of epoch and value that a run's metrics hold, without what is no number."""
    pairs = [(line.get("epoch"), line.get(key)) for line in epochs]
    return [(epoch, scale * value) for epoch, value in pairs if _is_plotted(epoch) and _is_plotted(value)]


def _is_plotted(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and abs(value) < PLOTTED


def _polyline(series: list[tuple[float, float]], x: Axis, y: Axis) -> str:
    places = [f"{x.at(epoch):g},{100 - y.at(value):g}" for epoch, value in series]
    # A line of one point is drawn as a dot if it goes there twice.
    return " ".join(places * 2 if len(places) == 1 else places)


def _ends(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    return (low, high) if high - low > 1e-6 else (low - 0.5, high + 0.5)


def _step(length: float) -> float:
    """The round number, 1, 2 or 5 times a power of ten, that divides a stretch into at most five steps."""
    power = 10.0 ** math.floor(math.log10(length / 5))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if length <= 5 * step * (1 + 1e-9))


def _axis(low: float, high: float, step: float) -> Axis:
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    # Sums of tenths are not exact: a tick at the very end must not fall off.
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [(_place(n * step, low, high), f"{n * step:.{digits}f}") for n in range(first, last + 1)]
    return Axis(low, high, ticks)


def _place(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 2)
