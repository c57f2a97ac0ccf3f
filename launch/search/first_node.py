"""The first node of a search in a job of SLURM: it runs the search, and decides on requeueing."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from artnet.provenance import now
from artnet.rundir import EXIT_STOPPED, RunDir

from ..cluster.programs import SchedulerError
from ..cluster.requeue import Start, Stop, refusal, requeue, why_stopped
from ..cluster.stop import SIGNALS, StopRelay
from ..host.lifeline import stops_with_parent
from ..sweep.folder import SweepDir
from . import ray_job
from .allocation import Allocation
from .ray_job import RayJob

POLL_S = 0.5
EARLY_S = 60  # SLURM may send its signal so many seconds early


class FirstNode:
    """Runs `launch/tune.py` in a process of its own, which saves all that counts in the sweep's folder."""

    def __init__(self, sweep: SweepDir, job: RayJob, stop: StopRelay) -> None:
        self.sweep = sweep
        self.job = job
        self.stop = stop
        self.allocation = Allocation.here(ray_job.folder(sweep))

    def search(self, arguments: Sequence[str]) -> int:
        """Search to the end, or until the job is to stop. Returns the exit code."""
        job, restart, begun = self.job, self.allocation.restart, self._attempts()
        job.id = os.environ["SLURM_JOB_ID"]
        lost = [Start("", -1)] * (restart - len(job.starts))  # before they have recorded anything
        job.starts = [*job.starts[:restart], *lost]
        if refused := refusal(job.starts, begun, job.requeue):
            return self._end(f"{refused[0]}: {refused[1]}", 1)
        self._note(begun, "")
        self.allocation.withdraw(is_over=False)
        try:
            code = self._run(arguments)
        finally:
            self.allocation.withdraw(is_over=True)
        if code == 0:
            return self._end("complete", 0)
        if not self.stop or (code != EXIT_STOPPED and -code not in (*SIGNALS, signal.SIGKILL)):
            return self._end(f"exit code {code}", code if code > 0 else 128 - code)
        return self._stopped(begun)

    def _run(self, arguments: Sequence[str]) -> int:
        given = [*arguments, "--allocation", str(self.allocation.file.parent)]
        command = [sys.executable, "-u", "-P", "-m", "launch.tune", *given]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=stops_with_parent())
        is_asked = False
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(POLL_S)
            if self.stop and not is_asked:
                is_asked = True
                process.send_signal(signal.SIGTERM)  # SLURM may have sent one too: several act as one
                self._note(self.job.starts[-1].attempts_before, self._why().why)  # now: a kill may follow

    def _stopped(self, begun: int) -> int:
        """Find out why the search was asked to stop, and requeue the job if it is to go on."""
        stop = self._why()
        self._note(begun, stop.why)
        if stop.why == "cancelled":
            return self._end("cancelled", EXIT_STOPPED)
        if refused := refusal(self.job.starts, self._attempts(), self.job.requeue):
            return self._end(f"{refused[0]}: {refused[1]}", EXIT_STOPPED)
        print(f"{now()} {stop.why}; the job is requeued, and the search goes on", flush=True)
        if not stop.in_queue and (problem := requeue(self.job.id, self.job.signal_s)):
            return self._end(problem, EXIT_STOPPED)
        return EXIT_STOPPED

    def _why(self) -> Stop:
        with contextlib.suppress(SchedulerError):
            return why_stopped(self.job.id, self.allocation.restart, self.job.signal_s + EARLY_S)
        return Stop("asked to stop")

    def _attempts(self) -> int:
        """How many attempts all runs have begun."""
        return sum(len(RunDir(file.parent).run().get("attempts", [])) for file in self.sweep.folder.glob("*/run.json"))

    def _note(self, begun: int, outcome: str) -> None:
        """Record this start of the job, and how it ended; without an outcome, it was lost with its node."""
        self.job.starts = [*self.job.starts[: self.allocation.restart], Start(outcome, begun)]
        self.job.write(self.sweep)

    def _end(self, how: str, code: int) -> int:
        """Record that the job has ended for good. Returns the exit code."""
        print(f"{now()} the job has ended: {how}", flush=True)
        self.job.ended = how
        self.job.write(self.sweep)
        return code
