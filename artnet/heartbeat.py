"""Says what a training is doing while it prints nothing else, so that nobody takes it for hanging. Imports no torch."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

NEW_S = 2.0  # after which something that has begun is named
SAME_S = 30.0  # between two lines about the same thing: logs stay small
LIVE_S = 1.0  # between two updates of a terminal's line


class Heartbeat:
    """A thread that prints a line about what is going on, unless another line has been printed lately.

    What begins for the first time is named after `NEW_S`. What goes on, or begins again, is named `SAME_S` after the
    last line. With `live`, there is one line on stderr, a terminal, that is updated every `LIVE_S`.
    """

    def __init__(self, live: bool = False, say: Callable[[str], None] = lambda line: print(line, flush=True)) -> None:
        """`say` prints a line that is not live."""
        self._say = _update if live else say
        self._new, self._same = (0.0, LIVE_S) if live else (NEW_S, SAME_S)
        self._is_live, self._is_over = live, False
        self._what, self._where, self._seen = "", "", {""}
        self._began = self._due = time.monotonic()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        with contextlib.suppress(RuntimeError):  # no memory is left for a thread: the training says why it ends
            self._thread.start()

    def now(self, what: str, where: str = "") -> None:
        """Note what the process is doing, as in "training", and how far it is, as in "step 3/9"."""
        if what == self._what:
            self._where = where
            return
        with self._changed:
            self._what, self._where, self._began = what, where, time.monotonic()
            if what not in self._seen:
                self._seen.add(what)
                self._due = self._began + self._new
                self._changed.notify()

    def printed(self) -> None:
        """Note that another line has been printed."""
        self._due = time.monotonic() + self._same

    def close(self) -> None:
        """End the thread. Nothing is printed after this."""
        with self._changed:
            self._is_over = True
            self._changed.notify()
        if self._thread.ident:
            self._thread.join()
        if self._is_live:
            _update("")

    def _run(self) -> None:
        with self._changed:
            while not self._is_over:
                now = time.monotonic()
                if not self._what or now < self._due:
                    self._changed.wait(self._due - now if self._what else None)
                    continue
                where = f", {self._where}" if self._where else ""
                with contextlib.suppress(OSError, ValueError):  # a full disk, a closed stream
                    self._say(f"{self._what}{where} ({now - self._began:.0f} s)")
                self._due = now + self._same


def _update(line: str) -> None:
    """Replace a terminal's line. The cursor goes back to its start, so that what is printed next replaces it too."""
    print(f"\r\x1b[K{line}\r", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def shown(what: str, file: TextIO | None = None) -> Iterator[None]:
    """Say what a block does, if it takes long. Of several ranks, the first says it.

    Lines go to `file`, by default stdout; a command whose answer goes there gives stderr.
    """
    if os.environ.get("RANK", "0") not in ("", "0"):
        yield
        return
    is_live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    heartbeat = Heartbeat(is_live, lambda line: print(line, file=file, flush=True))
    heartbeat.now(what)
    try:
        yield
    finally:
        heartbeat.close()
