"""Being asked to stop: a signal sets a flag, the loop looks at it between two steps. Light to import (no torch)."""

import signal
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class StopRequest:
    """Whether a signal has asked this process to stop. Any number of signals means the same as one."""

    def __init__(self) -> None:
        self.name = ""
        for number in SIGNALS:
            signal.signal(number, self._note)

    def __bool__(self) -> bool:
        return bool(self.name)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
