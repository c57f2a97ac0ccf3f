"""Forward a request to stop from a job to its training. Fast to import, as a signal may come early."""

import signal
from types import FrameType

from ..sweep.attempt import TrainingProcess

SIGNALS = (signal.SIGUSR2, signal.SIGTERM)


class StopRelay:
    """Whether the job was asked to stop. Forwards the request to the training, as soon as there is one."""

    def __init__(self) -> None:
        self.name = ""
        self._training: TrainingProcess | None = None
        for number in SIGNALS:
            signal.signal(number, self._note)

    def __bool__(self) -> bool:
        return bool(self.name)

    def pass_to(self, training: TrainingProcess) -> None:
        """Forward the request to this training, now or when it comes."""
        self._training = training
        if self:
            training.stop(signal.SIGUSR2)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
        if self._training is not None:
            self._training.stop(signal.SIGUSR2)  # SLURM may have sent one too: several act as one
