"""The figures of the report page, drawn by matplotlib as self-contained SVG."""

import base64
import io
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import wording
from .results import Run
from .summary import Cell, Group, Summary

COLOURS = ("#0b6bb5", "#d55e00", "#00875f", "#a8448c", "#b57f00", "#3a9bd1", "#6f4fb3", "#6d6d6d")
DASHES = ((), (6, 3), (2, 2))  # lengths of dashes and gaps, in line widths: enough to distinguish 24 models
INK = "#1c1e21"
LABEL_WIDTH = 34  # characters per line of a model's label, which leaves half of the figure for the dots
PLOT_LIMIT = 1e6  # larger values are left out, because the rest of the curve would be flat

_LOOK = Path(__file__).with_suffix(".mplstyle")


@dataclass(frozen=True)
class Picture:
    """A titled figure; `uri` is a `data:` URI that contains the SVG."""

    title: str
    uri: str


@dataclass(frozen=True)
class Look:
    """The line style of a model, the same in all figures."""

    colour: str
    dashes: tuple[int, ...]


def look(position: int) -> Look:
    """The line style of the model in row `position` of the table."""
    return Look(COLOURS[position % len(COLOURS)], DASHES[position // len(COLOURS) % len(DASHES)])


def pictures(figures: Iterable[tuple[str, Figure]]) -> list[Picture]:
    """Convert titled figures to SVG."""
    return [Picture(title, _svg(figure)) for title, figure in figures]


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    with style.context(_LOOK):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def dot_plots(summary: Summary) -> Iterator[tuple[str, Figure]]:
    """Test top-1 of every model, in per cent: one figure for each task that has scores or published figures."""
    for task in summary.tasks:
        rows = [(look(i), group, group.cells[task]) for i, group in enumerate(summary.groups) if task in group.cells]
        if any(cell.scores or cell.published for _, _, cell in rows):
            yield task, _dot_plot(rows)


def _dot_plot(rows: list[tuple[Look, Group, Cell]]) -> Figure:
    labels = [textwrap.fill(group.label, LABEL_WIDTH) for _, group, _ in rows]
    lines = max(label.count("\n") + 1 for label in labels)
    figure, axes = empty_figure(0.55 + (0.14 + 0.18 * lines) * len(rows))
    for row, (drawn, _, cell) in enumerate(rows):
        if estimate := cell.estimate:
            seeds = [100 * score.test.top1 for score in cell.scores]
            if estimate.interval:
                ends = [100 * end for end in estimate.interval]
                axes.plot(ends, [row, row], color=drawn.colour, linewidth=2)
            axes.plot(seeds, [row] * len(seeds), "o", color=drawn.colour, alpha=0.35, markersize=6, markeredgewidth=0)
            axes.plot(100 * estimate.mean, row, "o", color=drawn.colour, markersize=9)
        axes.plot(
            cell.published, [row] * len(cell.published), "o",
            markersize=10, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.5,
        )  # fmt: skip
        axes.annotate(
            wording.spread(cell.estimate), (1, row), (8, 0), ("axes fraction", "data"), "offset points", va="center"
        )
    axes.set_yticks(range(len(rows)), labels, color=INK)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.tick_params("y", length=0)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.spines["left"].set_visible(False)
    return figure


def learning_curves(summary: Summary) -> Iterator[tuple[str, Figure]]:
    """Val top-1 over epochs for each task, and the training loss for each set of tasks learned together."""
    lines = [
        _Line(run, look(position), run.directory.epochs())
        for position, group in enumerate(summary.groups)
        for run in group.runs
    ]
    charts = [
        (f"{task}: val top-1, per cent", [line for line in lines if task in line.run.tasks], f"val/{task}/top1", 100)
        for task in summary.tasks
    ]
    charts += [
        (f"{' + '.join(tasks)}: training loss", [line for line in lines if line.run.tasks == tasks], "train/loss", 1)
        for tasks in dict.fromkeys(line.run.tasks for line in lines)
    ]
    for title, shown, key, scale in charts:
        if drawn := [(line.look, series) for line in shown if (series := _series(line.epochs, key, scale))]:
            yield title, _chart(drawn)


@dataclass(frozen=True)
class _Line:
    run: Run
    look: Look
    epochs: list[dict[str, Any]]


def _chart(lines: list[tuple[Look, list[tuple[float, float]]]]) -> Figure:
    figure, axes = empty_figure(2.8)
    for drawn, series in lines:
        # A line through a single point would be invisible.
        marker = "o" if len(series) == 1 else ""
        axes.plot(
            *zip(*series, strict=True), color=drawn.colour, linewidth=1.4, alpha=0.85, marker=marker, markersize=4,
            linestyle=(0, drawn.dashes) if drawn.dashes else "solid",
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    return figure


def empty_figure(height: float) -> tuple[Figure, Axes]:
    """Create an empty figure with a height in inches and the width of the page's column."""
    with style.context(_LOOK):
        figure = Figure(figsize=(6.2, height), layout="constrained")
        return figure, figure.subplots()


def _series(epochs: list[dict[str, Any]], key: str, scale: float) -> list[tuple[float, float]]:
    """The pairs of epoch and value in a run's metrics, without values that cannot be plotted."""
    pairs = [(line.get("epoch"), line.get(key)) for line in epochs]
    return [(epoch, scale * value) for epoch, value in pairs if _is_plotted(epoch) and _is_plotted(value)]


def _is_plotted(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and abs(value) < PLOT_LIMIT
