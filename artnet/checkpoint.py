"""Checkpoints: written whole or not at all, checked when they are read, read without running code from them.

A checkpoint is what `torch.save` writes, a zip archive, with the SHA-256 of it as the archive's comment: one file, and
`torch.load` reads it like any other.

It holds the weights, the optimizer and the progress of the run, but no state of a random generator: an epoch is drawn
from (seed, epoch), mixup from (seed, step), and torch's generators are seeded at every step from (seed, step, rank). So
a run resumes from the step alone, with any number of ranks.
"""

import hashlib
import os
from pathlib import Path
from typing import IO, Any, cast

import torch

from shards.errors import UserError
from shards.files import atomic_open

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"

_LABEL = b"sha256:"
_COMMENT = len(_LABEL) + 2 * hashlib.sha256().digest_size
_NO_COMMENT = bytes(2)  # at the end of a zip archive without a comment: the comment's length, little-endian


class BrokenError(Exception):
    """A checkpoint cannot be read, or is not what was written."""


class _Hashed:
    """A file that hashes what is written to it and keeps the error of a failed write.

    torch reports that a write failed, but not why.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.refusal: OSError | None = None

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.refusal = error
            raise

    def flush(self) -> None:
        """torch asks for it; `atomic_open` does it at the end."""


def save(file: Path, state: dict[str, Any], previous: Path | None = None) -> None:
    """Write a checkpoint of tensors and plain values: under a temporary name, flushed, renamed.

    The former `file` becomes `previous` once the new one is safe on disk. Raises `OSError` if the file system refuses,
    and leaves both unchanged.
    """
    with atomic_open(file) as handle:
        hashed = _Hashed(handle)
        try:
            torch.save(state, cast(IO[bytes], hashed))
        except RuntimeError:
            if hashed.refusal:
                raise hashed.refusal from None
            raise
        handle.seek(-len(_NO_COMMENT), os.SEEK_CUR)
        handle.write(_tail(hashed.digest))
        if previous:
            handle.flush()
            os.fsync(handle.fileno())
            if file.exists():
                file.replace(previous)


def load(file: Path, device: torch.device, require_checksum: bool = True) -> Any:
    """Read a checkpoint to `device`, or return None if the file does not exist.

    A file that `save` wrote is checked against its SHA-256. Files of other programs have none; they are read if
    `require_checksum` is False. Only tensors and plain values are read, never code. Raises `BrokenError` if the file
    is damaged, or no checkpoint.
    """
    if not file.exists():
        return None
    try:
        _check(file, require_checksum)
        return torch.load(file, map_location=device, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged file can make the unpickler raise anything
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise BrokenError(f"{file} is broken ({first})") from None


def _tail(digest: "hashlib._Hash") -> bytes:
    """What the archive ends in instead of `_NO_COMMENT`."""
    return _COMMENT.to_bytes(len(_NO_COMMENT), "little") + _LABEL + digest.hexdigest().encode()


def _check(file: Path, require_checksum: bool) -> None:
    """Raise `ValueError` if a file's bytes are not those that were written."""
    digest = hashlib.sha256()
    with file.open("rb") as handle:
        left = os.fstat(handle.fileno()).st_size - len(_NO_COMMENT) - _COMMENT
        while left > 0 and (part := handle.read(min(left, 1 << 20))):
            digest.update(part)
            left -= len(part)
        digest.update(_NO_COMMENT)
        tail = handle.read()
    length = _COMMENT.to_bytes(len(_NO_COMMENT), "little")
    # Two marks, of which damage to one byte leaves one.
    has_checksum = tail.startswith(length) or tail[len(length) :].startswith(_LABEL)
    if (require_checksum or has_checksum) and (left or tail != _tail(digest)):
        raise ValueError("its checksum does not fit")


def load_newest(folder: Path, device: torch.device) -> tuple[dict[str, Any], list[str]] | None:
    """The state to resume from: that of `last.pt`, or of `previous.pt` if that is broken. None if neither exists.

    Also returns what is wrong with `last.pt`, if anything. Raises `UserError` if neither can be read.
    """
    wrong = []
    for name in (LAST, PREVIOUS):
        try:
            state = load(folder / name, device)
        except BrokenError as error:
            wrong.append(str(error))
            continue
        if state is not None:
            return state, wrong
        wrong.append(f"{folder / name} is missing")
    if not any((folder / name).exists() for name in (LAST, PREVIOUS)):
        return None
    raise UserError(
        f"{' and '.join(wrong)}: bring one back from a copy, or delete {folder} to start this run from its beginning"
    )
