"""A run inside a SLURM job: each task is a rank; the first rank records the run's state and decides on requeueing."""

import signal
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from artnet.provenance import now
from artnet.rundir import EXIT_STOPPED, read_json

from ..sweep.attempt import attempt_folder
from ..sweep.folder import cancelled_since
from ..sweep.state import State
from .job_array import Array
from .rank import Rank
from .requeue import Start, refusal
from .stop import SIGNALS, StopRelay


class Job(Rank):
    """One rank of a job that trains one run, and is requeued if the run is to be resumed."""

    def __init__(self, file: Path, place: int, stop: StopRelay) -> None:
        array = Array.read(file)
        self.run = array.run(file, place)
        super().__init__(array, stop)
        if not self.on_slurm:
            self.restarts = len(self._ended_starts())
        self.logs = attempt_folder(self.run, array.attempts[place] + self.restarts)

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
        state, reason = self._judge(training, signature, other, by_request)
        self._record(outcome=f"{state}: {reason}", ended=now())
        self._note(state, reason, exit_code=code)
        return code if code >= 0 else 128 - code

    def _stopped(self, earlier: list[Start], attempts: int, begun: int) -> int:
        """Find out why the training was asked to stop, and requeue the job if it is to be resumed."""
        if not self.is_first:
            return 0  # an error would end the first rank before it has requeued the job
        stop = self._why()
        self._record(outcome=stop.why, ended=now())
        starts = [*earlier, Start(stop.why, attempts)]
        return self._end(stop, refusal(starts, begun, self.array.requeue))

    def _was_cancelled(self) -> bool:
        """Whether a launcher has cancelled the run since it was submitted."""
        return cancelled_since(self.run, datetime.fromisoformat(self.array.submitted).timestamp())

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
