"""Stop on request: a signal sets a flag that the training checks after each step. Light to import (no torch)."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class StopRequest:
    """True once a signal has requested this process to stop. `name` is that of the first signal, else empty."""

    def __init__(self) -> None:
        self.name = ""
        for number in SIGNALS:
            signal.signal(number, self._note)

    def __bool__(self) -> bool:
        return bool(self.name)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
