"""What a SLURM job runs: one task is one rank. Imported by name on the node, so it lives in a module of its own."""

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from submitit.helpers import Checkpointable, DelayedSubmission, TorchDistributedEnvironment

from artnet.rundir import EXIT_STOPPED, RunDir
from launch.rundir import attempt_folder


@dataclass
class TrainJob(Checkpointable):
    """Trains the run of a folder. Preempted or out of time, it saves a checkpoint, is requeued and goes on.

    The training is a process of its own, so that the signal finds it between two steps while submitit's handler
    waits here for its end.
    """

    folder: str
    attempt: int

    def __post_init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Run the training as this task's rank, and return its exit code: 0, or 75 if it was asked to stop."""
        peers = TorchDistributedEnvironment()
        # SLURM has set CUDA_VISIBLE_DEVICES for this task already.
        peers.export(set_cuda_visible_devices=False, overwrite=True)
        run = RunDir(Path(self.folder))
        # A requeued job counts its restarts; each gets a folder of its own.
        number = self.attempt + int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        logs = attempt_folder(run, number)
        suffix = "" if peers.rank == 0 else f".{peers.rank}"
        program = ["-m", "artnet.train", "--config", str(run.config_file), "--run-dir", str(run.path)]
        with (logs / f"stdout{suffix}").open("ab") as out, (logs / f"stderr{suffix}").open("ab") as err:
            self._child = subprocess.Popen([sys.executable, *program], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            code = self._child.wait()
        if code not in (0, EXIT_STOPPED):
            raise RuntimeError(f"training ended with exit code {code}; see {logs}")
        return code

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit's signal handler: end the training with a checkpoint, and run this again."""
        if self._child is not None:
            # It may have had one from SLURM: two mean the same as one.
            self._child.send_signal(signal.SIGUSR2)
            # Not Popen.wait(): this runs inside a signal handler, and the wait() it interrupts holds the lock.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(TrainJob(self.folder, self.attempt))
