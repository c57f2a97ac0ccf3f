"""Random access to the images of the shards, through the index and memory maps."""

import mmap
from pathlib import Path

from .errors import UserError
from .index import Index


class Reader:
    """Encoded images by row number of the index. Safe to use from several threads."""

    def __init__(self, index: Index) -> None:
        """Map every shard. Raises `UserError` naming a shard that is missing or shorter than the index says."""
        shards = index.table["shard"].to_pylist()
        self._offsets = index.table["offset"].to_pylist()
        self._lengths = index.table["length"].to_pylist()
        ends: dict[str, int] = {}
        for shard, offset, length in zip(shards, self._offsets, self._lengths, strict=True):
            ends[shard] = max(ends.get(shard, 0), offset + length)
        maps = {shard: _map(index.folder / shard, end) for shard, end in ends.items()}
        self._maps = [maps[shard] for shard in shards]

    def __getitem__(self, row: int) -> bytes:
        """The encoded image of a row, as it was packed."""
        offset = self._offsets[row]
        return self._maps[row][offset : offset + self._lengths[row]]


def _map(file: Path, end: int) -> mmap.mmap:
    try:
        with file.open("rb") as handle:
            mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read ({error}); copy or pack the shards again") from None
    if len(mapped) < end:
        raise UserError(
            f"{file} is cut short: {len(mapped)} bytes, the index needs {end}; copy or pack the shards again"
        )
    return mapped
