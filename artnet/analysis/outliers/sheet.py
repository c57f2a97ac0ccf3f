"""The contact sheet of the first paintings of the list, each beside its nearest ones."""

import io
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from shards.index import Index
from shards.reader import DamagedError, Reader
from shards.streams import harmless

from .ranking import Ranking
from .table import NEAREST

SHOWN = 30  # paintings
SIDE, GAP, TEXT = 120, 8, 250  # pixels: of a thumbnail, between two, width of the text
HEAD = 44  # pixels, of the title and the heads of the columns
LETTERS = 34  # of a line of text


def contact_sheet(ranking: Ranking, index: Index) -> bytes:
    """A PNG with a row for each painting: itself, its labels, and the nearest of its own and of the rival class."""
    first = ranking.order[:SHOWN].tolist()
    columns = 1 + 2 * NEAREST if ranking.neighbours else 1
    width = TEXT + columns * (SIDE + GAP) + 4 * GAP
    sheet = Image.new("RGB", (width, HEAD + len(first) * (SIDE + GAP)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    evidence = ranking.evidence
    title = f"{evidence.task}: {len(first)} of {len(evidence):,} paintings that are worth a look"
    draw.text((GAP, 6), title, "black", font)
    if ranking.neighbours:
        draw.text((_left(1), 24), "nearest of the given class", "black", font)
        draw.text((_left(1 + NEAREST), 24), "nearest of the rival class", "black", font)
    reader = Reader(index)
    rows = {key: row for row, key in enumerate(index.table["key"].to_pylist())}
    for place, position in enumerate(first):
        top = HEAD + place * (SIDE + GAP)
        draw.multiline_text((SIDE + 2 * GAP, top), _text(ranking, place, position), "black", font, spacing=3)
        for column, shown in _pictures(ranking, position):
            sheet.paste(_thumbnail(reader, rows[str(evidence.keys[shown])]), (_left(column), top))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _left(column: int) -> int:
    """The left edge of a column of thumbnails; the text stands between the first and the second."""
    own = 0 if column == 0 else TEXT + GAP
    return GAP + column * (SIDE + GAP) + own + (GAP if column > NEAREST else 0)


def _pictures(ranking: Ranking, position: int) -> Iterator[tuple[int, int]]:
    """The columns of a row with the positions of the paintings in them."""
    yield 0, position
    if ranking.neighbours:
        nearest = ranking.neighbours.nearest_own, ranking.neighbours.nearest_rival
        for number, found in enumerate(np.concatenate([rows[position, :NEAREST] for rows in nearest]).tolist()):
            if found >= 0:
                yield 1 + number, found


def _text(ranking: Ranking, place: int, position: int) -> str:
    evidence = ranking.evidence
    label, predicted = int(evidence.labels[position]), int(evidence.predicted[position])
    lines = [
        f"{place + 1}. {evidence.keys[position]}",
        f"given: {evidence.classes[label]}",
        f"  {evidence.probabilities[position, label]:.3f}",
        f"predicted: {evidence.classes[predicted]}",
        f"  {evidence.probabilities[position, predicted]:.3f}",
        f"margin: {evidence.margins[position]:+.3f}",
    ]
    return "\n".join(harmless(line if len(line) <= LETTERS else f"{line[: LETTERS - 1]}…") for line in lines)


def _thumbnail(reader: Reader, row: int) -> Image.Image:
    """The whole painting, as large as there is room; grey if it is damaged."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(reader[row])) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the index limits its size
            return ImageOps.pad(image.convert("RGB"), (SIDE, SIDE), color="white")
    except (DamagedError, OSError, Image.DecompressionBombError):
        return Image.new("RGB", (SIDE, SIDE), "grey")
