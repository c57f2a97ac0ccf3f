"""A task of a SLURM job is a rank: the first one records the run's state and puts the job back into the queue."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from submitit.helpers import TorchDistributedEnvironment

from artnet.provenance import now
from artnet.rundir import EXIT_STOPPED, RunDir, read_json, write_json
from shards.workers import cores

from ..host.environment import training_environment
from ..sweep.attempt import TrainingProcess, last_line, training_command
from ..sweep.folder import note_state
from ..sweep.state import State, after_exit
from .job_array import Array
from .programs import SchedulerError
from .requeue import Stop, requeue, why_stopped
from .stop import StopRelay

LOCK_WAIT_S = 60  # for a process left behind by a lost node
PORTS = range(20_000, 32_000)  # below the range for outgoing connections
PR_SET_PDEATHSIG = 1  # of Linux's prctl()
CHECK_EVERY_S = 1.0  # how often the ends of other ranks are checked while the training runs
PATIENCE_S = 2.0  # for a training that does not stop after another rank has failed
LOCAL_REQUEUE = 144  # the exit code with which submitit's local executor starts a job again


def _stop_with_parent() -> None:
    """In a child: receive SIGUSR2 when the parent dies. SLURM may not find the children of a killed task."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGUSR2)


def environment_place() -> int:
    """This job's place in its array."""
    return int(os.environ.get("SLURM_ARRAY_TASK_ID", "0"))


def environment_id() -> str:
    """This job's id, `12_3`."""
    array, number = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    own = os.environ.get("SLURM_JOB_ID") or os.environ.get("SUBMITIT_LOCAL_JOB_ID", "")
    return f"{array}_{number}" if array else own


def rank_threads(cpus_on_node: str, ranks: int) -> int:
    """The number of CPUs of each of `ranks` ranks on this machine; `cpus_on_node` is SLURM's number for all of them.

    A rank may have its own CPUs (as with task/affinity) or share those of all ranks.
    """
    together = int(cpus_on_node) if cpus_on_node.isdecimal() else cores()
    return max(1, min(cores(), together // ranks))


class Rank:
    """One rank of a job, which trains a run.

    The training runs in a separate process, which handles signals between two steps. This process waits for its end.
    """

    def __init__(self, array: Array, stop: StopRelay) -> None:
        self.array = array
        self.stop = stop
        self.started = time.monotonic()
        self.id = environment_id()
        self.on_slurm = "SLURM_JOB_ID" in os.environ
        if self.on_slurm:
            # Distinct for jobs that run at the same time, as their ids are close together.
            os.environ["MASTER_PORT"] = str(PORTS[int(os.environ["SLURM_JOB_ID"]) % len(PORTS)])
        self.peers = TorchDistributedEnvironment()
        self.is_first = self.peers.rank == 0
        self.restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0) if self.on_slurm else 0
        self.run: RunDir
        self.logs: Path

    def _start(self) -> TrainingProcess | None:
        """Start the training of this rank; None if the job was asked to stop before."""
        waited_until = time.monotonic() + LOCK_WAIT_S
        while self.is_first and self.run.is_locked() and not self.stop and time.monotonic() < waited_until:
            time.sleep(0.2)
        if self.stop:
            return None
        training = TrainingProcess.start(
            self.run,
            training_command(self.run),
            self._log("stdout"),
            self._log("stderr"),
            self._environment(),
            preexec_fn=_stop_with_parent if sys.platform == "linux" else None,
        )
        self.stop.pass_to(training)
        return training

    def _environment(self) -> dict[str, str]:
        """The environment of this rank's training, which selects its device in CUDA_VISIBLE_DEVICES itself."""
        each = os.environ.get("SLURM_CPUS_PER_TASK")
        threads = each or str(rank_threads(os.environ.get("SLURM_CPUS_ON_NODE", ""), self.peers.local_world_size))
        own = {"SLURM_CPUS_PER_TASK": each} if each else {}
        names = ("master_addr", "master_port", "rank", "world_size", "local_rank", "local_world_size")
        own |= {name.upper(): str(getattr(self.peers, name)) for name in names}
        return {"OMP_NUM_THREADS": threads, **training_environment(), **own}

    def _watch(self, training: TrainingProcess) -> int:
        """Wait for the end of the training and return its exit code.

        The reason for a request to stop is recorded at once, as a kill may follow.
        """
        ended_since, noted = 0.0, False
        while True:
            with contextlib.suppress(TimeoutExpired):
                return training.process.wait(CHECK_EVERY_S)
            if self.stop and self.is_first and not noted:
                noted = True
                self._record(outcome=self._why().why)
            if self._is_to_stop():
                training.stop(signal.SIGUSR2)
            # Before the ranks have connected, they notice neither a lost rank nor a request to stop. The ranks of a
            # worker do not end with their trainings, by which SLURM would end the others.
            if (self.stop or self.array.workers) and self._other_rank_ended():
                ended_since = ended_since or time.monotonic()
                if time.monotonic() - ended_since > PATIENCE_S:
                    training.process.kill()

    def _is_to_stop(self) -> bool:
        """Whether the training is to stop though the job goes on; asked again and again."""
        return False

    def _end(self, stop: Stop, refused: tuple[State, str] | None) -> int:
        """End the job, which was asked to stop, and requeue it unless that is `refused`. Returns the exit code."""
        if stop.why == "cancelled":
            self._note(State.CANCELLED, "cancelled")
            return EXIT_STOPPED
        if not self.on_slurm and self.stop.name == "SIGTERM":  # by somebody's kill; its time limit sends SIGUSR2
            self._note(State.INTERRUPTED, "stopped on request")
            return EXIT_STOPPED
        if refused:
            self._note(*refused)
            return EXIT_STOPPED
        self._note(State.REQUEUED, f"{stop.why} on {socket.gethostname()}")
        if not self.on_slurm:
            return LOCAL_REQUEUE
        if not stop.in_queue and (problem := requeue(self.id, self.array.signal_s)):
            self._note(State.INTERRUPTED, problem)
        return EXIT_STOPPED

    def _why(self) -> Stop:
        margin = self.array.signal_s + 60  # SLURM may send its signal up to 60 s early
        with contextlib.suppress(SchedulerError):
            if self.on_slurm:
                return why_stopped(self.id, self.restarts, margin)
        left = 60 * self.array.minutes - (time.monotonic() - self.started)
        return Stop("timed out" if left < (margin if self.on_slurm else self.array.signal_s + 2) else "asked to stop")

    def _log(self, name: str) -> Path:
        return self.logs / (name if self.is_first else f"{name}.{self.peers.rank}")

    def _report_end(self, code: int, has_begun: bool) -> int:
        """Report to the first rank how this rank's training ended, if the training could not do so itself."""
        state, reason = after_exit(code, "", last_line(self._log("stderr")))
        if (code < 0 or not has_begun) and self.run.config_file.exists():
            write_json(self.logs / f"ended.{self.peers.rank}", {"state": state, "reason": reason})
        return code if code >= 0 else 128 - code

    def _other_rank_ended(self) -> tuple[State, str] | None:
        """How the training of another rank ended, if one has reported it."""
        for file in sorted(self.logs.glob("ended.*")):
            left = read_json(file)
            if (state := str(left.get("state"))) in set(State):
                return State(state), f"rank {file.suffix[1:]}: {left.get('reason')}"
        return None

    def _judge(
        self,
        training: TrainingProcess | None,
        signature: str,
        other: tuple[State, str] | None,
        by_request: bool = False,
    ) -> tuple[State, str]:
        """The state of the run when its training has ended, and the reason: the `other` rank's if that is to blame."""
        if training is None:
            return other or (State.INTERRUPTED, "stopped on request")
        state, reason = training.judge(signature)
        blames_others = training.outcome.startswith(("failed: PeerLostError", "failed: PeerGoneError"))
        has_begun = len(self.run.run().get("attempts", [])) > training.attempts_before
        return other if other and (by_request or blames_others or not has_begun) else (state, reason)

    def _note(self, state: State, reason: str = "", **details: Any) -> None:
        if self.is_first:
            print(f"{now()} {self.run.name}: {state} {reason}", flush=True)
            note_state(self.run, state, reason, job=self.id, **details)

    def _record(self, **values: Any) -> None:
        """Record values about this start of the job in the attempt's folder."""
        if self.is_first and self.run.config_file.exists():  # else its folder was deleted
            file = self.logs / "job.json"
            write_json(file, {"job_name": self.array.name, **read_json(file), **values})
