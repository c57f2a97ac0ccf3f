"""Checkpoint files: written atomically, verified when they are read, and read without executing code from them.

A checkpoint is a zip archive as `torch.save` writes it, with its SHA-256 as the archive's comment: a single file that
`torch.load` reads like any other.

It holds the weights, the optimizer and the progress of the run, but no state of a random generator: an epoch is drawn
from (seed, epoch), mixup from (seed, step), and torch's generators are seeded at every step from (seed, step, rank).
So a run can resume at any step with any number of ranks.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import IO, Any, cast

import torch

from shards.errors import UserError
from shards.files import atomic_open, open_regular

LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"

_LABEL = b"sha256:"
_COMMENT = len(_LABEL) + 2 * hashlib.sha256().digest_size
_NO_COMMENT = bytes(2)  # at the end of a zip archive without a comment: the comment's length, little-endian


class BrokenError(Exception):
    """A checkpoint cannot be read or does not match its checksum."""


class _Hashed:
    """A file that hashes what is written to it and keeps the error of a failed write, which torch does not report."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Do nothing: torch requires the method, and `atomic_open` flushes at the end."""


def save(file: Path, state: dict[str, Any], previous: Path | None = None) -> None:
    """Write a checkpoint of tensors and plain values atomically: to a temporary file, flushed and renamed.

    The old `file` is renamed to `previous` once the new one is on disk. Raises `OSError` if writing fails, and leaves
    both files unchanged.
    """
    with atomic_open(file) as handle:
        hashed = _Hashed(handle)
        try:
            torch.save(state, cast(IO[bytes], hashed))
        except RuntimeError:
            if hashed.error:
                raise hashed.error from None
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

    A file written by `save` is verified against its SHA-256. Files of other programs have no checksum; they are read
    if `require_checksum` is False. Only tensors and plain values are loaded, never code. Raises `BrokenError` if the
    file is damaged or not a checkpoint.
    """
    if not file.exists():
        return None
    try:
        _check(file, require_checksum)
        return torch.load(file, map_location=device, weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a damaged file can make the unpickler raise anything
        raise BrokenError(f"{file} is broken ({_reason(error)})") from None


def _reason(error: Exception) -> str:
    """The first line of an error, of torch's without its advice and colours."""
    text = re.split(r"\. (?:Please use|In PyTorch 2.6)", str(error).rpartition("WeightsUnpickler error: ")[2])[0]
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _tail(digest: "hashlib._Hash") -> bytes:
    """The bytes that replace `_NO_COMMENT` at the end of the archive."""
    return _COMMENT.to_bytes(len(_NO_COMMENT), "little") + _LABEL + digest.hexdigest().encode()


def _check(file: Path, require_checksum: bool) -> None:
    """Raise `ValueError` if a file's bytes do not match its checksum."""
    digest = hashlib.sha256()
    with open_regular(file) as handle:
        left = os.fstat(handle.fileno()).st_size - len(_NO_COMMENT) - _COMMENT
        while left > 0 and (part := handle.read(min(left, 1 << 20))):
            digest.update(part)
            left -= len(part)
        digest.update(_NO_COMMENT)
        tail = handle.read()
    length = _COMMENT.to_bytes(len(_NO_COMMENT), "little")
    # Two marks, so that one remains if a single byte is damaged.
    has_checksum = tail.startswith(length) or tail[len(length) :].startswith(_LABEL)
    if (require_checksum or has_checksum) and (left or tail != _tail(digest)):
        raise ValueError("its checksum does not match")


def load_newest(folder: Path, device: torch.device) -> tuple[dict[str, Any], list[str]] | None:
    """Load the state to resume from: `last.pt`, or `previous.pt` if `last.pt` is broken, or `best.pt` if it is alone.

    Also returns the problems found with `last.pt`. None if no file exists. Raises `UserError` if none can be read.
    """
    wrong = []
    names = [name for name in (LAST, PREVIOUS, BEST) if (folder / name).exists()]
    if not names:
        return None
    for name in [BEST] if names == [BEST] else [LAST, PREVIOUS]:
        try:
            state = load(folder / name, device)
        except BrokenError as error:
            wrong.append(str(error))
            continue
        if state is not None:
            return state, wrong
        wrong.append(f"{folder / name} is missing")
    raise UserError(
        f"{' and '.join(wrong)}: restore one from a backup, or delete {folder} to train this run from scratch"
    )
