"""`summary.png`: what has been packed, at a glance: a sample of the paintings with their labels, and class sizes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from .files import atomic_write
from .index import Index
from .labels import TASKS, UNLABELLED
from .reader import Reader

NAME = "summary.png"
COLUMNS, ROWS = 8, 4
THUMBNAIL, CELL, CHART = 150, (166, 204), 580  # pixels: a thumbnail's side, its cell, and the chart's height
DPI = 100
COLOURS = {"train": "#33658a", "val": "#86bbd8", "test": "#f6ae2d", "": "#d5d5d5"}


def write_summary(index: Index) -> None:
    """Leave the picture in the index's folder. One of the same index that is there already stays as it is."""
    file = index.folder / NAME
    if _fingerprint(file) != index.fingerprint:
        atomic_write(file, draw_summary(index))


def _fingerprint(file: Path) -> str:
    """The fingerprint of the index that a picture was drawn of."""
    try:
        with Image.open(file) as image:
            return str(image.info.get("fingerprint", ""))
    except OSError:
        return ""


def draw_summary(index: Index) -> bytes:
    """The picture as a PNG: the same bytes for the same index."""
    # Here and not above: the worker processes of packing import this module too, and would each wait for it.
    from matplotlib.figure import Figure

    sheet = contact_sheet(index)
    height = sheet.height + CHART
    figure = Figure(figsize=(sheet.width / DPI, height / DPI), dpi=DPI)
    axes = figure.add_axes((0, CHART / height, 1, sheet.height / height))
    axes.imshow(sheet, interpolation="none")
    axes.axis("off")
    for place, row in enumerate(sampled(index)):
        names = [_name(index, task, label) for task, label in zip(TASKS, index.labels[row].tolist(), strict=True)]
        left, top = _corner(place)
        axes.text(left, top + THUMBNAIL + 4, "\n".join(names), size=7, va="top", linespacing=1.1, parse_math=False)
    bottom, tall = 70 / height, (CHART - 110) / height
    for column, task in enumerate(TASKS):
        axes = figure.add_axes((0.12 + 0.33 * column, bottom, 0.2, tall))
        names = [name.replace("_", " ") for name in index.classes[task]]
        left_of = np.zeros(len(names))
        for split, count in class_counts(index, task).items():
            axes.barh(range(len(names)), count, left=left_of, color=COLOURS[split], label=split or "no part")
            left_of += count
        axes.set_yticks(range(len(names)), names, size=7, parse_math=False)
        axes.set(xlim=(0, 1.05 * max(1, left_of.max())), ylim=(len(names) - 0.4, -0.6))
        axes.set_title(f"{task}: {int(left_of.sum()):,} paintings", size=9, loc="left")
        axes.tick_params(axis="x", labelsize=7)
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="lower center", ncols=len(COLOURS), fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None, "fingerprint": index.fingerprint})
    return buffer.getvalue()


def contact_sheet(index: Index) -> Image.Image:
    """The middles of the sampled paintings, side by side, with room for three lines of text under each."""
    reader = Reader(index)
    sheet = Image.new("RGB", (COLUMNS * CELL[0], ROWS * CELL[1]), "white")
    for place, row in enumerate(sampled(index)):
        with Image.open(io.BytesIO(reader[row])) as image:
            sheet.paste(ImageOps.fit(image.convert("RGB"), (THUMBNAIL, THUMBNAIL)), _corner(place))
    return sheet


def class_counts(index: Index, task: str) -> dict[str, np.ndarray]:
    """How many paintings of each class of `task` are in train, val, test and in none of them ("")."""
    labels = index.table[task].to_numpy()
    splits = index.table[f"split_{task}"].to_numpy(zero_copy_only=False)
    size = len(index.classes[task])
    return {split: np.bincount(labels[(splits == split) & (labels != UNLABELLED)], minlength=size) for split in COLOURS}


def sampled(index: Index) -> list[int]:
    """The rows that are shown, drawn with a fixed seed."""
    order: list[int] = np.random.default_rng(0).permutation(index.table.num_rows).tolist()
    return order[: COLUMNS * ROWS]


def _corner(place: int) -> tuple[int, int]:
    """Left and top of a thumbnail, pixels."""
    return place % COLUMNS * CELL[0] + 8, place // COLUMNS * CELL[1] + 8


def _name(index: Index, task: str, label: int) -> str:
    return f"no {task}" if label == UNLABELLED else index.classes[task][label].replace("_", " ")
