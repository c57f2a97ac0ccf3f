"""Forest plots of the differences to the baseline as inline SVG: readable without scripts, at any width.

Places along the axis are per cent of the width and letters have a fixed size, so that a phone shows them as large as a
desktop. Colours are the page's CSS variables.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

LETTERS = 44  # per line of a label, which fit 360 pixels
LINE, LANE, AXIS = 16, 22, 34  # heights in pixels: a line of a label, the plot below it, the axis
EDGE = 3  # per cent of the width that is left free on both sides
TICKS = 5


def slots(data: Mapping[str, Any]) -> dict[str, str]:
    """The HTML of the sections of the page that have plots without scripts, by their names."""
    labels = [model["label"] for model in data["models"]]
    baseline = labels[data["baseline"]]
    plots = [
        Markup("<h3>{}</h3>").format(f"{task}: points of test top-1 above {baseline}") + forest(task, rows, labels)
        for task, rows in data.get("differences", {}).items()
        if rows
    ]
    return {"differences": "".join(plots)} if plots else {}


def forest(task: str, rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> Markup:
    """A plot of one task: the interval, mean and seeds of each difference, a zero line, and published differences."""
    scale = _Scale([of for row in rows for of in _numbers(row)])
    parts, top = [], 4
    for row in rows:
        lines = textwrap.wrap(labels[row["model"]], LETTERS) or [""]
        for number, line in enumerate(lines, 1):
            parts.append(f'<text x="0" y="{top + LINE * number - 3}" fill="var(--ink)">{escape(line)}</text>')
        top += LINE * len(lines)
        parts.append(_marks(row, scale, top + LANE // 2, labels))
        top += LANE
    zero = scale.place(0)
    parts.insert(
        0,
        f'<line x1="{zero}" x2="{zero}" y1="0" y2="{top}" stroke="var(--quiet)" stroke-dasharray="3 3"/>',
    )
    for tick in scale.ticks:
        at = scale.place(tick)
        parts.append(f'<line x1="{at}" x2="{at}" y1="{top}" y2="{top + 5}" stroke="var(--quiet)"/>')
        parts.append(
            f'<text x="{at}" y="{top + 18}" text-anchor="middle" fill="var(--quiet)">{_signed(tick, scale.step)}</text>'
        )
    name = escape(f"Differences on {task}, in points, with 95 % intervals; the table above has the figures")
    return Markup(  # noqa: S704 - all text in it is escaped
        f'<svg class="forest" role="img" aria-label="{name}" width="100%" height="{top + AXIS}" font-size="12">'
        f"{''.join(parts)}</svg>"
    )


def _numbers(row: Mapping[str, Any]) -> list[float]:
    given = [row["mean"], row["low"], row["high"], row["published"], *row["seeds"]]
    return [of for of in given if of is not None]


def _marks(row: Mapping[str, Any], scale: "_Scale", y: int, labels: Sequence[str]) -> str:
    """The interval, whose line is dashed where it covers paintings only, dots, and a diamond without an interval."""
    colour = f"var(--c{row['model'] % 8})"
    said = f"{labels[row['model']]}: {row['mean']:+.2f}"
    marks = []
    if row["low"] is not None:
        said += f" ({row['low']:+.2f} to {row['high']:+.2f}, {row['method']}, over {row['covers']})"
        dashes = ' stroke-dasharray="5 3"' if row["covers"] == "paintings" else ""
        ends = f'x1="{scale.place(row["low"])}" x2="{scale.place(row["high"])}"'
        marks.append(f'<line {ends} y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"{dashes}/>')
    for seed in row["seeds"]:
        marks.append(f'<circle cx="{scale.place(seed)}" cy="{y}" r="3.5" fill="{colour}" fill-opacity="0.4"/>')
    marks.append(f'<circle cx="{scale.place(row["mean"])}" cy="{y}" r="5" fill="{colour}"/>')
    if row["published"] is not None:
        said += f"; published {row['published']:+.2f}"
        shape = '<path d="M-6 0L0-6L6 0L0 6Z" fill="none" stroke="var(--ink)" stroke-width="1.5"/>'
        marks.append(f'<svg x="{scale.place(row["published"])}" y="{y}" overflow="visible">{shape}</svg>')
    return f"<g><title>{escape(said)}</title>{''.join(marks)}</g>"


class _Scale:
    """The places of numbers along an axis that holds them all and 0, and its round ticks."""

    def __init__(self, numbers: Sequence[float]) -> None:
        low, high = min(0.0, *numbers), max(0.0, *numbers)
        width = high - low or 1.0
        rough = width / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        self.step = next(power * size for size in (1, 2, 5, 10) if power * size >= rough)
        self._low, self._high = low - width / 50, low + width * 1.02
        first, last = math.ceil(self._low / self.step), math.floor(self._high / self.step)
        self.ticks = [number * self.step for number in range(first, last + 1)]

    def place(self, of: float) -> str:
        share = (of - self._low) / (self._high - self._low)
        return f"{EDGE + (100 - 2 * EDGE) * share:.2f}%"


def _signed(tick: float, step: float) -> str:
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{tick:+.{decimals}f}" if tick else "0"
