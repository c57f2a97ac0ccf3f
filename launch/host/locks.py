"""Locks on what only one run at a time may use: a GPU, a share of the CPUs."""

import fcntl
import os
from pathlib import Path

from shards.locks import LockError, open_lock


def claim(file: Path, kind: int = fcntl.LOCK_EX) -> int | None:
    """Lock `file` and return its descriptor; None if another process holds it. Raises `LockError`.

    `kind` may also be `fcntl.LOCK_SH`, which several hold together.

    The lock is held until the descriptor is closed, also by every process that has inherited it.
    """
    descriptor = open_lock(file)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise LockError(file, error) from None
    return descriptor
