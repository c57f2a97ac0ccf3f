"""A picture of paintings in two dimensions, with thumbnails and the colours of their classes."""

import io
from collections.abc import Callable

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from PIL import Image

from .projection import Projection

CELLS = (26, 18)  # columns and rows of places for a thumbnail: it stands in the place nearest to its painting
SIDE = 96  # pixels of a thumbnail
COLOURED = 20  # classes with a colour of their own
OTHER = "#9aa0a6"
CAUTION = (
    "Two dimensions keep little of the features: distances and clusters here are no evidence. "
    "Thumbnails are moved to a grid, one painting for each place."
)


def draw_map(
    projection: Projection, labels: np.ndarray, names: list[str], title: str, thumbnail: Callable[[int], Image.Image]
) -> bytes:
    """Return the picture as a PNG.

    `labels`, int64 (n,), -1 = unlabelled, are classes with these `names`. `thumbnail` gives the picture of a painting
    by its position; it is asked for at most one for each place.
    """
    colours = _colours(labels, len(names))
    figure = Figure(figsize=(16, 10), dpi=120, layout="constrained")
    axes = figure.subplots()
    points = projection.points
    shades = [colours.get(label, OTHER) for label in labels.tolist()]
    axes.scatter(points[:, 0], points[:, 1], s=4, c=shades, alpha=0.6, linewidths=0)
    low, size = _grid(points)
    high = low + size * CELLS
    for sample, cell in places(points):
        left, bottom = low + cell * size
        _draw_thumbnail(axes, thumbnail(sample), (left, bottom), size, colours.get(int(labels[sample]), OTHER))
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel(projection.axes[0])
    axes.set_ylabel(projection.axes[1])
    axes.set_title(title, loc="left", parse_math=False)
    entries = [(names[label], colour) for label, colour in colours.items()]
    if rest := len(names) - len(entries):
        entries.append((f"{rest} other classes", OTHER))
    marks = [Line2D([], [], marker="s", linestyle="", color=colour) for _, colour in entries]
    legend = figure.legend(marks, [name for name, _ in entries], loc="outside right upper", frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.supxlabel(CAUTION, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def places(points: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """The paintings that are shown, each with the column and row of its place: the nearest to its place's middle."""
    low, size = _grid(points)
    scaled = (points - low) / size
    cells = np.minimum(scaled.astype(np.int64), np.array(CELLS) - 1)
    nearest = np.argsort(((scaled - cells - 0.5) ** 2).sum(1), kind="stable")
    _, first = np.unique(cells[nearest] @ [1, CELLS[0]], return_index=True)
    return [(int(sample), cells[sample]) for sample in nearest[first]]


def _grid(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower left corner of the grid of places, and the width and height of a place."""
    low, span = points.min(0), np.ptp(points, 0)
    return np.where(span > 0, low, low - 0.5), np.where(span > 0, span, 1) / CELLS


def _colours(labels: np.ndarray, classes: int) -> dict[int, str]:
    """The colours of the most common classes, by class."""
    counts = np.bincount(labels[labels >= 0], minlength=classes)
    common = np.sort(np.argsort(-counts, kind="stable")[:COLOURED])
    palette = colormaps["tab10" if len(common) <= 10 else "tab20"]
    return {int(label): to_hex(palette(position)) for position, label in enumerate(common)}


def _draw_thumbnail(axes: Axes, image: Image.Image, corner: tuple[float, float], size: np.ndarray, colour: str) -> None:
    """Draw a picture, cut to its middle square, into the place at `corner`, with a border in the class's colour."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE))
    inner = 0.9 * size
    x, y = np.asarray(corner) + 0.05 * size
    axes.imshow(np.asarray(square), extent=(x, x + inner[0], y, y + inner[1]), aspect="auto", zorder=2)
    axes.add_patch(Rectangle((x, y), *inner, fill=False, edgecolor=colour, linewidth=2, zorder=3))
