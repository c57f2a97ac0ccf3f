"""A process that is asked to stop when the one that started it is gone, however that ended."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # prctl(2)


def stops_with_parent() -> Callable[[], None] | None:
    """What a new process calls before its program (`preexec_fn`) to get SIGTERM when its parent ends.

    None where the system cannot do it: there a process goes on without its parent.
    """
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()  # here: the new process should load nothing

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it ended in between
            os.kill(os.getpid(), signal.SIGTERM)

    return prepare
