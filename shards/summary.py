"""`summary.png`: an overview of what was packed, with sample paintings, their labels, and the size of each class."""

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .files import atomic_write
from .index import Index
from .reader import Reader
from .tasks import UNLABELLED

NAME = "summary.png"
COLUMNS, ROWS = 8, 4
THUMBNAIL, CELL, CHART = 150, (166, 204), 580  # pixels: side of a thumbnail, its cell, height of the chart
DPI = 100
TASKS_SHOWN, BARS, LETTERS = 3, 40, 30  # the most tasks, classes of a task and letters of a class that have room
COLOURS = {"train": "#33658a", "val": "#86bbd8", "test": "#f6ae2d", "": "#d5d5d5"}


def write_summary(index: Index) -> None:
    """Write the picture into the folder of the index, unless it already shows the same index."""
    file = index.folder / NAME
    if _fingerprint(file) != index.fingerprint:
        atomic_write(file, draw_summary(index))


def _fingerprint(file: Path) -> str:
    """Return the fingerprint of the index that a picture shows, or "" if it cannot be read."""
    try:
        with Image.open(file) as image:
            return str(image.info.get("fingerprint", ""))
    except OSError:
        return ""


def draw_summary(index: Index) -> bytes:
    """Return the picture as a PNG; the same index gives the same bytes."""
    # Imported here because the worker processes of packing import this module too, without needing matplotlib.
    from matplotlib.figure import Figure

    sheet = contact_sheet(index)
    height = sheet.height + CHART
    figure = Figure(figsize=(sheet.width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, CHART / height, 1, sheet.height / height))
    axes.imshow(sheet, interpolation="none")
    axes.axis("off")
    for position, row in enumerate(sample_rows(index)):
        labels = zip(index.tasks, index.labels[row].tolist(), strict=True)
        names = [_name(index, task, label) for task, label in labels][:TASKS_SHOWN]
        left, top = _corner(position)
        axes.text(left, top + THUMBNAIL + 4, "\n".join(names), size=7, va="top", linespacing=1.1, parse_math=False)
    bottom, tall = 70 / height, (CHART - 110) / height
    for column, task in enumerate(index.tasks[:TASKS_SHOWN]):
        _draw_classes(figure.add_axes((0.12 + 0.33 * column, bottom, 0.2, tall)), index, task)
    of_bars = figure.axes[1].get_legend_handles_labels()
    figure.legend(*of_bars, loc="lower center", ncols=len(COLOURS), fontsize=8, frameon=False)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters that the font does not have
        figure.savefig(buffer, format="png", metadata={"Software": None, "fingerprint": index.fingerprint})
    return buffer.getvalue()


def _draw_classes(axes: Any, index: Index, task: str) -> None:
    """Draw a bar for each class, or for the largest if there are too many."""
    counts = class_counts(index, task)
    sizes = np.sum(list(counts.values()), axis=0)
    shown = np.sort(np.argsort(-sizes, kind="stable")[:BARS])
    names = [_shortened(index.classes[task][label]) for label in shown]
    left_of = np.zeros(len(shown))
    for split, count in counts.items():
        axes.barh(range(len(shown)), count[shown], left=left_of, color=COLOURS[split], label=split or "no part")
        left_of += count[shown]
    axes.set_yticks(range(len(shown)), names, size=7, parse_math=False)
    axes.set(xlim=(0, 1.05 * max(1, left_of.max())), ylim=(len(shown) - 0.4, -0.6))
    title = f"{task}: {int(sizes.sum()):,} paintings"
    if len(shown) < len(sizes):
        title += f"; the {BARS} largest of {len(sizes):,} classes"
    axes.set_title(title, size=9, loc="left")
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def contact_sheet(index: Index) -> Image.Image:
    """Return the centre crops of the sample paintings in a grid, with room for three lines of text under each."""
    reader = Reader(index)
    sheet = Image.new("RGB", (COLUMNS * CELL[0], ROWS * CELL[1]), "white")
    for position, row in enumerate(sample_rows(index)):
        with Image.open(io.BytesIO(reader[row])) as image:
            sheet.paste(ImageOps.fit(image.convert("RGB"), (THUMBNAIL, THUMBNAIL)), _corner(position))
    return sheet


def class_counts(index: Index, task: str) -> dict[str, np.ndarray]:
    """Return how many paintings of each class of `task` are in train, val, test, and "" for no split.

    Each count is int64 (classes,).
    """
    labels = index.table[task].to_numpy()
    splits = index.table[f"split_{task}"].to_numpy(zero_copy_only=False)
    size = len(index.classes[task])
    return {split: np.bincount(labels[(splits == split) & (labels != UNLABELLED)], minlength=size) for split in COLOURS}


def sample_rows(index: Index) -> list[int]:
    """Return the rows of the paintings to show, drawn with a fixed seed."""
    order: list[int] = np.random.default_rng(0).permutation(index.table.num_rows).tolist()
    return order[: COLUMNS * ROWS]


def _corner(position: int) -> tuple[int, int]:
    """Return the left and top of a thumbnail, in pixels."""
    return position % COLUMNS * CELL[0] + 8, position // COLUMNS * CELL[1] + 8


def _name(index: Index, task: str, label: int) -> str:
    return f"no {task}" if label == UNLABELLED else _shortened(index.classes[task][label])


def _shortened(name: str) -> str:
    name = name.replace("_", " ")
    return name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
