"""Locks on files: who holds one names itself in /proc, and only who may write its folder can hold one.

The system releases a lock when its process ends, even if it is killed.
"""

import contextlib
import fcntl
import math
import os
import pwd
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .files import open_regular
from .streams import harmless

SILENT_S = 2.0  # most locks are held for moments
STRANGER_S = 60.0  # for a process that could not open the lock as it is now, and so holds it without right
UNSEEN_S = 6 * 3600.0  # for one that this machine does not show, such as a download by another node
POLL_S = 0.05
LOOK_EVERY_S = 5.0


class LockError(UserError):
    """It cannot be known whether a lock is held, or the lock cannot be taken, as on file systems without locks.

    `is_denied`: this user may not open it.
    """

    def __init__(self, file: Path, error: OSError) -> None:
        advice = "the file system must support file locks (flock), and the file must be yours to open"
        super().__init__(f"the lock {file} cannot be used: {error.strerror or error}; {advice}")
        self.is_denied = isinstance(error, PermissionError)


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock. `user` is None if the process has ended and left the lock to a child of its."""

    process: int
    user: int | None = None
    groups: frozenset[int] = frozenset()
    command: str = ""

    def __str__(self) -> str:
        if self.user is None:
            return f"process {self.process}, which has ended, or a child of it"
        try:
            name = pwd.getpwuid(self.user).pw_name
        except KeyError:
            name = str(self.user)
        return f"process {self.process} of {name}" + (f": {self.command}" if self.command else "")

    def may_open(self, lock: os.stat_result) -> bool:
        """Whether its user may open the lock for writing."""
        is_in_group = bool(lock.st_mode & stat.S_IWGRP) and lock.st_gid in self.groups
        return self.user in (0, lock.st_uid) or is_in_group or bool(lock.st_mode & stat.S_IWOTH)


def holder(file: Path) -> Holder | None:
    """The process of this machine that holds a lock; None if there is none, or the system does not show it."""
    try:
        about = file.stat()
        number = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    found = next((line[4] for line in lines if line[1] == "FLOCK" and line[5] == number), "")
    if not found.isdecimal():
        return None
    process = Path("/proc", found)
    try:
        said = (line.partition(":") for line in (process / "status").read_text(errors="replace").splitlines())
        values = {key: text.split() for key, _, text in said}
        words = os.fsdecode((process / "cmdline").read_bytes()).rstrip("\0").split("\0")
        groups = frozenset(map(int, [values["Gid"][1], *values.get("Groups", [])]))
        return Holder(int(found), int(values["Uid"][1]), groups, harmless(" ".join(words))[:150])
    except (OSError, KeyError, IndexError, ValueError):
        return Holder(int(found))


def by_whom(file: Path) -> str:
    """` (process 12 of alice: python launch/local.py ...)` for a message about a lock; empty if that is not known."""
    found = holder(file)
    return f" ({found})" if found else ""


def open_lock(file: Path) -> int:
    """Open a lock, which is created if it does not exist, and return its descriptor. Raises `LockError`.

    Whoever can open a file can hold a lock on it. So nobody can but this user, and where the group may write to the
    folder, the group.
    """
    try:
        mode = 0o660 if file.parent.stat().st_mode & stat.S_IWGRP else 0o600
        # NFS locks only what is open for writing. A link, as somebody may plant, would create a file elsewhere.
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, mode)
    except OSError as error:
        raise LockError(file, error) from None
    about = os.fstat(handle)
    if not stat.S_ISREG(about.st_mode):
        os.close(handle)
        raise LockError(file, OSError("it is not a regular file"))
    if about.st_uid == os.geteuid() and stat.S_IMODE(about.st_mode) != mode:  # by the umask, or an earlier version
        with contextlib.suppress(OSError):  # file systems without modes
            os.fchmod(handle, mode)
    return handle


@contextlib.contextmanager
def locked(file: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock `file`, which is created if it does not exist; wait up to `wait_s` seconds for it.

    Raises `BlockingIOError` if another process still holds it after that time, and `LockError`.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
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
                time.sleep(POLL_S)
            except OSError as error:
                raise LockError(file, error) from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked_patiently(file: Path, busy: str) -> Iterator[None]:
    """Hold the lock `file`; if another process holds it for long, print `busy` and who it is on stderr, and wait.

    The wait has no limit for a process that may hold it. Raises `UserError` for one that may not, after a minute, and
    after hours for one that cannot be seen from here.
    """
    with contextlib.ExitStack() as stack:
        began, wait_s, said, last = time.monotonic(), SILENT_S, "", ""
        while True:
            try:
                stack.enter_context(locked(file, wait_s))
                break
            except BlockingIOError:
                who, limit_s, advice = _judged(file)
            if time.monotonic() - began > limit_s:
                raise UserError(f"{busy}: the lock {file} is held by {who}; {advice}")
            # One that has just ended and let the lock go is not seen either: that is said once it lasts.
            if who != said and (not said or limit_s != UNSEEN_S or who == last):
                said = who
                print(harmless(f"{busy} ({who}); waiting for it to end"), file=sys.stderr, flush=True)
            last = who
            wait_s = min(LOOK_EVERY_S, limit_s)
        yield


def _judged(file: Path) -> tuple[str, float, str]:
    """Who holds a lock, how many seconds to wait for that, and what to do then."""
    found = holder(file)
    if found is None or found.user is None:
        who = str(found or "a process that cannot be seen from here")
        return who, UNSEEN_S, "make sure that it is gone, delete the lock, then run this again"
    with contextlib.suppress(OSError):
        if not found.may_open(file.stat()):
            return str(found), STRANGER_S, "its user may not write there: have it ended, then run this again"
    return str(found), math.inf, ""


def is_locked(file: Path) -> bool:
    """Whether a process on this machine holds the lock `file`. Raises `LockError` if that cannot be known."""
    try:
        # Shared: two that look at the same moment do not see one another, and it needs no permission to write, on NFS
        # either.
        with open_regular(file) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if holder(file):  # which the system shows without opening it
            return True
        raise LockError(file, error) from None
    return False
