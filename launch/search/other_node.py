"""A node of a search in a job of SLURM that is not the first: it joins the Ray of the first one."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time

from artnet.provenance import now
from artnet.rundir import RunDir

from ..cluster.programs import SchedulerError, run
from ..cluster.requeue import requeue
from ..cluster.stop import StopRelay
from ..host.lifeline import stops_with_parent
from ..host.sessions import kill_session
from ..sweep.attempt import last_lines, training_process
from ..sweep.folder import SweepDir
from . import ray_cluster, ray_job
from .allocation import Allocation
from .ray_head import Head

POLL_S = 1.0
JOINED_S = 30.0  # after which Ray has started here
PATIENCE_S = 600.0  # without a Ray to join
SAVE_S = 90.0  # for the trainings to save a checkpoint


class OtherNode:
    """Keeps this node in the Ray of the job, also where that is started again.

    If the first node is lost, it has the job requeued, as nobody else can.
    """

    def __init__(self, sweep: SweepDir, stop: StopRelay) -> None:
        self.sweep = sweep
        self.stop = stop
        self.allocation = Allocation.here(ray_job.folder(sweep))

    def take_part(self) -> int:
        """Join until the search is over or the job is to stop. Returns the exit code, 1 if there is no Ray to join."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # its terminal is that of srun, which may be lost
        gpus, since = len(self.allocation.gpus()), time.monotonic()
        while not self.stop:
            head = self.allocation.head()
            if head and head.is_over:
                break
            if head and head.address:
                began = time.monotonic()
                self._join(head, gpus)
                since = time.monotonic() if time.monotonic() - began > JOINED_S else since
                if not self.stop and self._first_is_lost():
                    return self._requeue()
            if time.monotonic() - since > PATIENCE_S:
                _say(f"no Ray to join for {PATIENCE_S:.0f} s")
                return 1
            time.sleep(POLL_S)
        self._wait_for_trainings()
        return 0

    def _join(self, head: Head, gpus: int) -> None:
        """Be a node of Ray until it is lost, replaced or over. Its trainings then save a checkpoint and end."""
        with ray_cluster.private_folder(head.token) as folder:
            log = folder / "log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    ray_cluster.join_command(folder, head.address, self.allocation.address, self.allocation.cpus, gpus),
                    stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder,
                    env=ray_cluster.environment(folder, os.environ, joins=False, several=True),
                    start_new_session=True, preexec_fn=stops_with_parent(),
                )  # fmt: skip
            try:
                while process.poll() is None and not self.stop and self.allocation.head() == head:
                    time.sleep(POLL_S)
            finally:
                left = process.poll() is not None and not self.stop
                kill_session(process.pid)
                process.wait()
            if left:
                said = " ".join(last_lines(log)[-3:])
                _say(f"{socket.gethostname()} has left the Ray at {head.address}: {said}")

    def _first_is_lost(self) -> bool:
        """Whether SLURM has taken the first node out of the job."""
        with contextlib.suppress(SchedulerError, KeyError):
            shown = run("scontrol", "--oneliner", "show", "job", os.environ["SLURM_JOB_ID"])
            job = dict(re.findall(r"(\w+)=(\S*)", shown))
            left = run("scontrol", "show", "hostnames", job["NodeList"]).split()
            return job["BatchHost"] not in left
        return False

    def _requeue(self) -> int:
        _say("the first node was lost; the job is requeued, and the search goes on")
        self._wait_for_trainings()
        requeue(os.environ["SLURM_JOB_ID"], patience_s=0)  # it is refused where another node was faster
        return 0

    def _wait_for_trainings(self) -> None:
        """Wait until the trainings of this node have saved a checkpoint: they end with the job."""
        until = time.monotonic() + SAVE_S
        folders = [RunDir(file.parent) for file in self.sweep.folder.glob("*/run.json")]
        while (folders := [one for one in folders if training_process(one)]) and time.monotonic() < until:
            time.sleep(POLL_S)


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # srun, which passes it on, may be lost
        print(f"{now()} {message}", flush=True)
