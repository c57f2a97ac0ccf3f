"""Atomic writes, reads that a hostile file cannot stop, and checksums of files."""

import contextlib
import errno
import hashlib
import io
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import UserError

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # as mkstemp names them

# The umask can only be read by setting it, which is not safe once there are threads: read it at import.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextlib.contextmanager
def atomic_open(path: Path, mode: str = "wb", permissions: int = 0o664) -> Iterator[IO]:
    """Open a temporary file next to `path` for writing; flush it to disk and rename it when the block succeeds.

    The file's `name` is the temporary path, for libraries that can only write by name. On any error, the temporary
    file is removed and `path` stays as it was. `mode` is "wb" or "w" (UTF-8), and the umask is taken from the
    `permissions`. A process that is killed leaves at most a file named `.NAME.*.tmp`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        with temporary.open(mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates private files, but shards and runs are shared, though not for all users to write.
        temporary.chmod(permissions & ~_UMASK)
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # the error of a full disk does not name the file
        raise


def atomic_write(path: Path, content: bytes | str, permissions: int = 0o664) -> None:
    """Write `content` to `path` through `atomic_open`."""
    with atomic_open(path, "w" if isinstance(content, str) else "wb", permissions) as file:
        file.write(content)


@contextlib.contextmanager
def open_log(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to append bytes to it.

    Raises `UserError` for a link or a pipe: in a folder that several people write, it may lead to any file.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # of a link, and of a pipe
            raise
        handle = -1
    if handle < 0 or not stat.S_ISREG(os.fstat(handle).st_mode):
        if handle >= 0:
            os.close(handle)
        raise UserError(f"{path} is a link or a pipe, to which nothing is written; remove it")
    with os.fdopen(handle, "ab") as file:
        yield file


@contextlib.contextmanager
def open_regular(path: Path, flags: int = 0) -> Iterator[io.BufferedReader]:
    """Open a file of which nothing is known for reading bytes, with more `flags` of `os.open`.

    Raises `OSError` if it is not a regular file: a pipe would be waited for, and a device has no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | flags)
    with open(descriptor, "rb") as file:  # noqa: PTH123
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        yield file


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a regular file. Raises `OSError` if it is none, or if it has over `limit` bytes."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is over {limit:,} bytes, too many for what it should hold", str(path))
    return content


def is_url(name: str | Path) -> bool:
    """Whether this is a URL (`https://...`), which a `Path` would mangle."""
    return "://" in str(name)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a regular file's bytes, in hex. Raises `OSError` if it is none."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed processes in `folder`, and in those below it unless it is a link.

    The caller must hold the folder's lock.
    """
    for leftover in folder.glob(".*.tmp") if folder.is_symlink() else folder.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(leftover.name):
            leftover.unlink(missing_ok=True)
