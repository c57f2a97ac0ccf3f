"""A run inside a SLURM job: each task is a rank; the first rank records the run's state and decides on requeueing."""

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from datetime import datetime
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from submitit.helpers import TorchDistributedEnvironment

from artnet.provenance import now
from artnet.rundir import EXIT_STOPPED, RunDir, read_json, write_json
from shards.workers import cores

from ..host.environment import training_environment
from ..sweep.attempt import TrainingProcess, attempt_folder, last_line, training_command
from ..sweep.folder import cancelled_since, note_state
from ..sweep.state import State, after_exit
from .job_array import Array
from .programs import SchedulerError
from .requeue import Start, Stop, refusal, requeue, why_stopped
from .stop import SIGNALS, StopRelay

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


class Job:
    """One rank of a job.

    The training runs in a separate process, which handles signals between two steps. This process waits for its end
    and then requeues the job if the run is to be resumed.
    """

    def __init__(self, file: Path, place: int, stop: StopRelay) -> None:
        self.array = Array.read(file)
        self.run: RunDir = self.array.run(file, place)
        self.stop = stop
        self.started = time.monotonic()
        self.id = environment_id()
        self.on_slurm = "SLURM_JOB_ID" in os.environ
        if self.on_slurm:
            # Distinct for jobs that run at the same time, as their ids are close together.
            os.environ["MASTER_PORT"] = str(PORTS[int(os.environ["SLURM_JOB_ID"]) % len(PORTS)])
        self.peers = TorchDistributedEnvironment()
        self.restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0) if self.on_slurm else len(self._ended_starts())
        self.logs = attempt_folder(self.run, self.array.attempts[place] + self.restarts)
        self.is_first = self.peers.rank == 0

    def carry_out(self) -> int:
        """Train or resume the run. Returns the exit code."""
        signature = self.run.config().signature
        is_ours = self.run.state().job_name == self.array.name
        if is_ours and self.run.result(signature):
            self._note(State.COMPLETE)
            return 0
        if not is_ours or self._was_cancelled():
            print(f"{self.run.name} was cancelled or submitted again since; this job has nothing to do")
            return 0
        attempts = len(self.run.run().get("attempts", []))
        earlier = self._earlier_starts()
        if refused := refusal(earlier, attempts, self.array.requeue):
            self._note(*refused)
            return int(self.is_first)  # an error of another rank would end the first rank before it has recorded this
        self._note(State.RUNNING, f"job {self.id} on {socket.gethostname()}")
        self._record(attempts_before=attempts, outcome="", job=self.id, node=socket.gethostname(), started=now())
        training = self._start()
        code = self._watch(training) if training else EXIT_STOPPED
        if self.run.result(signature):
            self._record(outcome="complete", ended=now())
            self._note(State.COMPLETE)
            return 0
        if self._was_cancelled():  # by a launcher that has signalled the training alone
            self._record(outcome="cancelled", ended=now())
            return EXIT_STOPPED
        begun = len(self.run.run().get("attempts", []))
        by_request = bool(self.stop) and (code in (0, EXIT_STOPPED) or -code in (*SIGNALS, signal.SIGKILL))
        if self.peers.world_size > 1 and self.is_first:
            time.sleep(1)  # ranks fail at about the same time
        other = self._other_rank_ended()
        if by_request and not (other and self.is_first):
            return self._stopped(earlier, attempts, begun)
        if not self.is_first:
            return self._report_end(code, has_begun=begun > attempts)
        state, reason = training.judge(signature) if training else (State.INTERRUPTED, "stopped on request")
        outcome = training.outcome if training else ""
        blames_others = outcome.startswith(("failed: PeerLostError", "failed: PeerGoneError"))
        if other and (by_request or blames_others or begun == attempts):
            state, reason = other
        self._record(outcome=f"{state}: {reason}", ended=now())
        self._note(state, reason, exit_code=code)
        return code if code >= 0 else 128 - code

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
            # Before the ranks have connected, they notice neither a lost rank nor a request to stop.
            if self.stop and self._other_rank_ended():
                ended_since = ended_since or time.monotonic()
                if time.monotonic() - ended_since > PATIENCE_S:
                    training.process.kill()

    def _stopped(self, earlier: list[Start], attempts: int, begun: int) -> int:
        """Find out why the training was asked to stop, and requeue the job if it is to be resumed."""
        if not self.is_first:
            return 0  # an error would end the first rank before it has requeued the job
        stop = self._why()
        self._record(outcome=stop.why, ended=now())
        if stop.why == "cancelled":
            self._note(State.CANCELLED, "cancelled")
            return EXIT_STOPPED
        if not self.on_slurm and self.stop.name == "SIGTERM":  # by somebody's kill; its time limit sends SIGUSR2
            self._note(State.INTERRUPTED, "stopped on request")
            return EXIT_STOPPED
        starts = [*earlier, Start(stop.why, attempts)]
        if refused := refusal(starts, begun, self.array.requeue):
            self._note(*refused)
            return EXIT_STOPPED
        self._note(State.REQUEUED, f"{stop.why} on {socket.gethostname()}")
        if not self.on_slurm:
            return LOCAL_REQUEUE
        if not stop.in_queue:
            self._requeue()
        return EXIT_STOPPED

    def _why(self) -> Stop:
        margin = self.array.signal_s + 60  # SLURM may send its signal up to 60 s early
        with contextlib.suppress(SchedulerError):
            if self.on_slurm:
                return why_stopped(self.id, self.restarts, margin)
        left = 60 * self.array.minutes - (time.monotonic() - self.started)
        return Stop("timed out" if left < (margin if self.on_slurm else self.array.signal_s + 2) else "asked to stop")

    def _requeue(self) -> None:
        """Requeue the job, which ends it; retry until shortly before the time limit."""
        until = time.monotonic() + self.array.signal_s
        while True:
            try:
                return requeue(self.id)
            except SchedulerError as error:
                if time.monotonic() > until:
                    self._note(State.INTERRUPTED, f"could not be put back into the queue ({error})")
                    return None
                time.sleep(2)

    def _log(self, name: str) -> Path:
        return self.logs / (name if self.is_first else f"{name}.{self.peers.rank}")

    def _report_end(self, code: int, has_begun: bool) -> int:
        """Report to the first rank how this rank's training ended, if the training could not do so itself."""
        state, reason = after_exit(code, "", last_line(self._log("stderr")))
        if (code < 0 or not has_begun) and self.run.config_file.exists():
            write_json(self.logs / f"ended.{self.peers.rank}", {"state": state, "reason": reason})
        return code if code >= 0 else 128 - code

    def _was_cancelled(self) -> bool:
        """Whether a launcher has cancelled the run since it was submitted."""
        return cancelled_since(self.run, datetime.fromisoformat(self.array.submitted).timestamp())

    def _other_rank_ended(self) -> tuple[State, str] | None:
        """How the training of another rank ended, if one has reported it."""
        for file in sorted(self.logs.glob("ended.*")):
            left = read_json(file)
            if (state := str(left.get("state"))) in set(State):
                return State(state), f"rank {file.suffix[1:]}: {left.get('reason')}"
        return None

    def _note(self, state: State, reason: str = "", **details: Any) -> None:
        if self.is_first:
            print(f"{now()} {self.run.name}: {state} {reason}", flush=True)
            note_state(self.run, state, reason, job=self.id, **details)

    def _record(self, **values: Any) -> None:
        """Record values about this start of the job in the attempt's folder."""
        if self.is_first and self.run.config_file.exists():  # else its folder was deleted
            file = self.logs / "job.json"
            write_json(file, {"job_name": self.array.name, **read_json(file), **values})

    def _ended_starts(self) -> list[Path]:
        return [file for file, record in self._records() if "ended" in record]

    def _records(self) -> list[tuple[Path, dict[str, Any]]]:
        """The records of all starts of this job so far, in order."""
        found = [(file, read_json(file)) for file in sorted(self.run.attempts.glob("[0-9]*/job.json"))]
        return [(file, record) for file, record in found if record.get("job_name") == self.array.name]

    def _earlier_starts(self) -> list[Start]:
        return [
            Start(str(record.get("outcome", "")), before if type(before) is int else -1)
            for file, record in self._records()
            if file.parent != self.logs
            for before in [record.get("attempts_before", 0)]
        ]
