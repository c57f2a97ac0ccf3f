"""Atomic writes, reads that a hostile file cannot stop, and checksums of files."""

import contextlib
import errno
import fcntl
import hashlib
import io
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .errors import UserError
from .holder import holder, is_held, is_held_by_user

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")  # as mkstemp names them
PATIENCE_S = 600.0  # without a change in its folder, until a lock of another user's process is given up
LOOK_S = 5.0  # between two looks at who holds a lock


class LockError(UserError):
    """It cannot be known whether a lock is held, or the lock cannot be taken, as on file systems without locks."""

    def __init__(self, file: Path, error: OSError) -> None:
        advice = "the file system must support file locks (flock), and the file must be yours to open"
        super().__init__(f"the lock {file} cannot be used: {error.strerror or error}; {advice}")


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


@contextlib.contextmanager
def locked_patiently(file: Path, busy: str) -> Iterator[None]:
    """Hold the lock `file`; if another process holds it, print `busy` and its name on stderr, and wait.

    A process of this user is waited for without a time limit. Others hold a lock while they work: raises `UserError`
    once nothing in the lock's folder, or a folder in it, has changed for `PATIENCE_S`.
    """
    with contextlib.ExitStack() as stack:
        seen, since, wait_s = 0, time.monotonic(), 0.0
        while True:
            try:
                stack.enter_context(locked(file, wait_s))
                break
            except BlockingIOError:
                who = held_by(file)
            if not wait_s:
                print(f"{busy}{who}; waiting for it to end", file=sys.stderr, flush=True)
            now = _changes(file.parent)
            if now != seen or is_held_by_user(file):
                seen, since = now, time.monotonic()
            elif time.monotonic() - since >= PATIENCE_S:
                minutes = f"{PATIENCE_S / 60:g}"
                raise UserError(f"{busy}{who} and has changed nothing for {minutes} minutes; have it ended, try again")
            wait_s = min(PATIENCE_S, LOOK_S)
        yield


def held_by(file: Path) -> str:
    """The process that holds the lock `file`, in brackets behind a space; empty if that is not known."""
    found = holder(file)
    return f" ({found})" if found else ""


def _changes(folder: Path) -> int:
    """A number that changes when a file in `folder`, or in a folder in it, is made or written."""
    total = 0
    for pattern in ("*", "*/*"):
        for path in folder.glob(pattern):
            with contextlib.suppress(OSError):
                total += path.lstat().st_mtime_ns
    return total


@contextlib.contextmanager
def locked(file: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock `file`, which is created if it does not exist; wait up to `wait_s` seconds for it.

    The system releases it when the process ends, even if it is killed. Raises `BlockingIOError` if another process
    still holds it after that time, and `LockError`.
    """
    handle = open_lock(file)
    try:
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.05)
            except OSError as error:
                raise LockError(file, error) from None
        yield
    finally:
        os.close(handle)


def open_lock(file: Path) -> int:
    """Open a file that is locked, create it if it does not exist, and return its descriptor. Raises `LockError`.

    Who can read it can lock it: only its owner can, and the group of its folder if that can write there.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # NFS locks only what is open for writing. A link, as somebody may plant, would create a file elsewhere.
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LockError(file, error) from None
    found, folder = os.fstat(handle), file.parent.stat()
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise LockError(file, OSError(errno.EINVAL, "it is not a regular file"))
    mode = 0o660 if folder.st_mode & stat.S_IWGRP and found.st_gid == folder.st_gid else 0o600
    if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) != mode:
        with contextlib.suppress(OSError):  # file systems without modes
            os.fchmod(handle, mode)
    return handle


def is_locked(file: Path) -> bool:
    """Whether a process on this machine holds the lock `file`. Raises `LockError` if that cannot be known."""
    try:
        # Shared: two that look at the same moment do not see one another, and it needs no permission to write, on NFS
        # either.
        with open_regular(file, os.O_NOFOLLOW) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        # The locks of others are theirs alone to open, but the system lists those that are held.
        known = is_held(file) if isinstance(error, PermissionError) else None
        if known is None:
            raise LockError(file, error) from None
        return known
    return False
