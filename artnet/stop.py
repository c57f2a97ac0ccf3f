"""Stop on request: a signal sets a flag that the training checks after each step. Light to import (no torch)."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from .rundir import EXIT_STOPPED

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGHUP)
GRACE_S = 4.0  # how long after a request a process may go on waiting for something

Item = TypeVar("Item")


class StopRequest:
    """True once a signal has requested this process to stop. `name` is that of the first signal, else empty."""

    def __init__(self) -> None:
        self.name = ""
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as nohup sets it
                signal.signal(number, self._note)

    def __bool__(self) -> bool:
        return bool(self.name)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark a block that waits for something and has no progress to save.

        If a stop is requested and the block does not end within `GRACE_S` seconds, the process ends with
        `EXIT_STOPPED`: a wait in native code, as for other ranks or a file system, cannot be interrupted otherwise.
        """
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        over = threading.Event()
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # written to even if Python code cannot run
        thread = threading.Thread(target=self._watch, args=(reader, over), name="stop", daemon=True)
        thread.start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            over.set()
            os.write(writer, b"\0")
            thread.join()
            os.close(reader)
            os.close(writer)

    def waiting_for_first(self, items: Iterator[Item]) -> Iterator[Item]:
        """Yield `items`; the wait for the first one is as in `waiting`."""
        with self.waiting():
            first = next(items, None)
        if first is not None:
            yield first
            yield from items

    def _watch(self, reader: int, over: threading.Event) -> None:
        name = self.name
        while not name:
            number = os.read(reader, 1)[0]
            if over.is_set():
                return
            if number in SIGNALS:
                name = signal.Signals(number).name
        if not over.wait(GRACE_S):
            if os.environ.get("RANK", "0") in ("", "0"):
                print(f"stopped by {name} while waiting; start it again to resume", file=sys.stderr, flush=True)
            os._exit(EXIT_STOPPED)
