"""Small pictures of the paintings that the page lists below its confusions, read from the shards of the runs."""

import base64
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from PIL import Image, ImageOps

from shards.errors import UserError
from shards.index import read_index
from shards.reader import DamagedError, Reader
from shards.remote import local_folder

from ..results import Run

SIDE = 96  # pixels
QUALITY = 70
MAX_BYTES = (
    1_500_000  # of all pictures as JPEGs, a third more in the page; the other paintings are listed by their keys
)


def thumbnails(runs: Sequence[Run], classes: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The pictures as data: URIs by key, and sentences on those that are missing.

    `classes` are the page's. The commonest confusions of all models come first, until there are `MAX_BYTES`.
    """
    wanted, pictures, notes, size = list(dict.fromkeys(_keys(classes))), {}, [], 0
    for where, data in _shards(runs):
        try:
            index = read_index(local_folder(where))
            if index.fingerprint != data:
                raise UserError(f"{where} holds other paintings than the runs were trained on")
            reader = Reader(index)
        except UserError as error:
            notes.append(f"Without the thumbnails of {where}: {error}.")
            continue
        rows = {key: row for row, key in enumerate(index.table["key"].to_pylist())}
        for key in wanted:
            if key in rows and key not in pictures and size < MAX_BYTES and (jpeg := _jpeg(reader, rows[key])):
                pictures[key] = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
                size += len(jpeg)
    if pictures and (without := len(wanted) - len(pictures)):
        notes.append(f"{without:,} of {len(wanted):,} paintings below the confusions have no thumbnail, but their key.")
    return pictures, notes


def _keys(classes: Mapping[str, Any]) -> Iterator[str]:
    """The keys of all tasks and models: those of each one's commonest confusion, then of its second, and so on."""
    lists = [confusions for task in classes.values() for confusions in task["commonest"]]
    for confusions in zip_longest(*lists):
        for one in filter(None, confusions):
            yield from one["keys"]


def _shards(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The shards of the complete runs, as their configurations name them, with the fingerprints of the results."""
    found = [(str(run.config.get("data.shards") or ""), run.result.data) for run in runs if run.result]
    return list(dict.fromkeys(pair for pair in found if pair[0]))


def _jpeg(reader: Reader, row: int) -> bytes:
    """A painting cut to a square; empty if it is damaged."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(reader[row])) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the index limits its size
            small = ImageOps.fit(image.convert("RGB"), (SIDE, SIDE))
    except (DamagedError, OSError, Image.DecompressionBombError):
        return b""
    file = io.BytesIO()
    small.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
