"""`python -P -m launch.cluster.task ARRAY.json [PLACE]`: what srun starts, once per rank.

Little is imported before the signals are caught: SLURM may send one as soon as the job runs.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from shards.errors import command

SIGNALS = (signal.SIGUSR2, signal.SIGTERM)


class Asked:
    """Whether the job was asked to stop; the training is told as soon as there is one."""

    def __init__(self) -> None:
        self.name = ""
        self.training: subprocess.Popen[bytes] | None = None
        for number in SIGNALS:
            signal.signal(number, self._note)

    def __bool__(self) -> bool:
        return bool(self.name)

    def watch(self, training: subprocess.Popen[bytes]) -> None:
        """Pass the request on to this process, now or when it comes."""
        self.training = training
        if self:
            self._pass_on()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = self.name or signal.Signals(number).name
        self._pass_on()

    def _pass_on(self) -> None:
        if self.training is not None:
            with contextlib.suppress(ProcessLookupError):
                self.training.send_signal(signal.SIGUSR2)  # it may have had one from SLURM: two mean the same as one


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train the run at this task's place. Returns the exit code."""
    asked = Asked()
    from .job import Job, environment_place

    arguments = sys.argv[1:] if argv is None else argv
    file = Path(arguments[0])
    place = int(arguments[1]) if len(arguments) > 1 else environment_place()
    return Job(file, place, asked).carry_out()


if __name__ == "__main__":
    raise SystemExit(main())
