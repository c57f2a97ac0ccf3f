"""Random access to the images of the shards, through the index and memory maps."""

import errno
import hashlib
import mmap
from pathlib import Path

from .errors import UserError
from .files import open_regular
from .index import Index


class DamagedError(Exception):
    """An image is not as it was packed. The message is the reason."""


class Reader:
    """Encoded images by row number of the index. Can be used from several threads at once."""

    def __init__(self, index: Index) -> None:
        """Map every shard into memory. Raises `UserError` if a shard is missing or shorter than the index says."""
        shards = index.table["shard"].to_pylist()
        self._offsets = index.table["offset"].to_pylist()
        self._lengths = index.table["length"].to_pylist()
        self._checksums = index.table["sha256"].to_pylist()
        self._verified = bytearray(len(shards))
        ends: dict[str, int] = {}
        for shard, offset, length in zip(shards, self._offsets, self._lengths, strict=True):
            ends[shard] = max(ends.get(shard, 0), offset + length)
        maps = {shard: _map(index.folder / shard, end) for shard, end in ends.items()}
        self._maps = [maps[shard] for shard in shards]

    def __getitem__(self, row: int) -> memoryview:
        """Return the encoded image of a row: a view of the mapped file, which is read from disk when it is used.

        The first access to a row compares its checksum, as decoders accept bytes that a disk has zeroed. Raises
        `DamagedError` if the image is not as it was packed.
        """
        offset = self._offsets[row]
        image = self._maps[row][offset : offset + self._lengths[row]]
        if not self._verified[row]:
            if hashlib.sha256(image).hexdigest() != self._checksums[row]:
                raise DamagedError("its bytes have changed since it was packed")
            self._verified[row] = True
        return image


def _map(file: Path, end: int) -> memoryview:
    try:
        with open_regular(file) as handle:
            mapped = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise MemoryError(f"{file} cannot be mapped into memory") from None
        raise UserError(f"{file} cannot be read ({error}); copy or pack the shards again") from None
    if len(mapped) < end:
        raise UserError(
            f"{file} is cut short: {len(mapped)} bytes, the index needs {end}; copy or pack the shards again"
        )
    return mapped
