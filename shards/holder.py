"""Which process holds a lock: Linux lists all locks, also those on files that may not be read."""

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from .streams import harmless

_LISTED = Path("/proc/locks")
# Elsewhere, as on NFS, other machines may hold a lock too, or the system cannot tell.
_LOCAL_TYPES = ("btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs")
_MOST_SHOWN = 80  # characters of a command


def holder(file: Path) -> str | None:
    """The process that holds the lock `file`, as "process 12 of alice (python -m x)"; None if that is not known."""
    number = next(_holders(file)[0], None)
    if number is None:
        return None
    who = f"process {number}"
    with contextlib.suppress(OSError):  # it has ended, and a process that it started holds the lock
        who += f" of {_user(Path(f'/proc/{number}').stat().st_uid)}"
        words = os.fsdecode(Path(f"/proc/{number}/cmdline").read_bytes()).replace("\0", " ").strip()
        shown = harmless(words.replace("\n", " "))
        who += f" ({shown if len(shown) <= _MOST_SHOWN else f'{shown[:_MOST_SHOWN]}...'})" if shown else ""
    return who


def is_held_by_user(file: Path) -> bool:
    """Whether a process of this user is known to hold the lock `file`."""
    with contextlib.suppress(OSError):
        return any(Path(f"/proc/{number}").stat().st_uid == os.getuid() for number in _holders(file)[0])
    return False


def is_held(file: Path) -> bool | None:
    """Whether a process holds the lock `file`, which need not be readable; None if that cannot be known so."""
    numbers, is_local = _holders(file)
    return True if next(numbers, None) else False if is_local else None


def _holders(file: Path) -> tuple[Iterator[int], bool]:
    """The ids of the processes that hold a lock on a file, and whether these must be all."""
    try:
        lines = _LISTED.read_text(errors="replace").splitlines()
        device, inode, kind = _identity(file)
    except (OSError, ValueError, StopIteration):
        return iter(()), False
    # 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5308418 0 EOF; one that waits for it has an arrow behind the number
    rows = [line.split() for line in lines]
    found = (int(row[4]) for row in rows if row[1] == "FLOCK" and row[5] == f"{device}:{inode}" and row[4].isdecimal())
    return found, kind in _LOCAL_TYPES


def _identity(file: Path) -> tuple[str, int, str]:
    """The device and inode of a file as `/proc/locks` has them, and the type of its file system.

    On some file systems, the device that `stat` tells is another one.
    """
    descriptor = os.open(file, os.O_PATH | os.O_NOFOLLOW)
    try:
        about = Path(f"/proc/self/fdinfo/{descriptor}").read_text().split()
        mount, inode = about[about.index("mnt_id:") + 1], os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)
    # 27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
    mounts = (line.split(" ") for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines())
    row = next(row for row in mounts if row[0] == mount)
    major, _, minor = row[2].partition(":")
    return f"{int(major):02x}:{int(minor):02x}", inode, row[row.index("-") + 1]


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
