"""Requests to stop a launcher: SIGINT, SIGTERM, and SIGHUP when its terminal is closed."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def handled(stop: Callable[[int, FrameType | None], None], numbers: Sequence[signal.Signals] = STOP) -> Iterator[None]:
    """Call `stop` for every request in the block. One that is ignored stays so: nohup ignores SIGHUP."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            # A handler that C code has installed reads as None, and cannot be restored from here.
            signal.signal(number, before[number] or signal.SIG_DFL)
