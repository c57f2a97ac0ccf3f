"""What a worker of a search does: it claims a run, trains it, judges it after every epoch and goes on with the next.

It needs nothing but the sweep's folder: no server, and no other worker.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from artnet.provenance import now
from artnet.rundir import EXIT_STOPPED, RunDir, read_json, write_json
from shards.errors import UserError
from shards.locks import LockError

from ..cluster.job_array import Array
from ..cluster.rank import Rank
from ..cluster.requeue import Stop
from ..cluster.stop import StopRelay
from ..sweep.attempt import TrainingProcess, attempt_folder, next_attempt
from ..sweep.folder import SweepDir
from ..sweep.state import State
from .best import write_best
from .claims import Claims, Nothing, release, unfinished
from .history import History
from .spec import Spec
from .starts import Starts
from .study import Study

POLL_S = 0.2
RETRY_S = 2.0  # after the folder could not be written to
WAIT_S = 5.0  # for runs that follow when others have ended
AGAIN = (State.FAILED, State.INTERRUPTED)  # a run whose training ended so is started again

Result = TypeVar("Result")


class StoppedError(Exception):
    """The job was asked to stop while no training ran."""


class Worker(Rank):
    """One rank of a worker's job. The first one decides what is trained; the others train with it."""

    def __init__(self, file: Path, place: int, stop: StopRelay) -> None:
        super().__init__(Array.read(file), stop)
        self.sweep = SweepDir(file.parents[1])
        folder = file.with_suffix(".workers")
        self.claims = Claims(self.array, place, self.id, "slurm" if self.on_slurm else "local")
        self.claimed: RunDir | None = None
        self.starts = Starts(folder / f"{place}.json")
        self.order_file = folder / f"{place}.order.json"
        self.step = f"{self.id}.{self.restarts}.{os.environ.get('SLURM_STEP_ID', '')}"  # the same for all its ranks
        self.orders = 0
        self.waits = 0  # for the folder
        self.judged, self.judged_size = 0, -1  # the last epoch, and the size of metrics.jsonl
        age_s = float(os.environ.get("ARTNET_JOB_AGE") or 0)  # of the job, when its tasks were started again
        self.ends = self.started - age_s + 60 * self.array.minutes - self.array.signal_s
        self.spec: Spec | None = None
        self.study: Study

    def carry_out(self) -> int:
        """Train one run after another. Returns the exit code."""
        try:
            return self._work() if self.is_first else self._follow()
        except StoppedError:
            return self._stopped(self._why()) if self.is_first else 0
        finally:
            if self.is_first:
                with contextlib.suppress(OSError):
                    self._order(None, 0)

    def _work(self) -> int:
        self._patiently(self.starts.note)
        if why := self.starts.refusal(self.array.requeue):
            print(f"{now()} this worker {why}", flush=True)
            self._patiently(functools.partial(self._give_up, why))
            return 0
        while isinstance(found := self._next(), RunDir):
            self.claimed = found
            if (code := self._train(found)) is not None:
                return code
            self.claimed = None
        if found is Nothing.LATE:
            return self._stopped(Stop("timed out"))
        self._patiently(functools.partial(self.starts.note, outcome="done"))
        self._patiently(functools.partial(write_best, self.study, self.study.history()))
        return 0

    def _give_up(self, why: str) -> None:
        """Leave the run of an earlier start to other workers."""
        with self._locked():
            self._read_spec()
            if run := self.claims.own(self.study, unfinished(self.study, self.study.history())):
                release(self.sweep.run(run), State.INTERRUPTED, f"its worker {why}")

    def _patiently(self, work: Callable[[], Result]) -> Result:
        """Do what needs the shared folder; where it cannot be used, wait until it can. Raises `StoppedError`."""
        while True:
            try:
                return work()
            except (OSError, LockError) as error:
                self._wait_for_folder(error)
            self._sleep(RETRY_S)
            if self.stop:
                raise StoppedError

    def _wait_for_folder(self, error: Exception) -> None:
        self.waits += 1
        print(f"{now()} {error}; waiting until {self.sweep.folder} can be written to", flush=True)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.stop:
            time.sleep(POLL_S)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock of the sweep. Raises `StoppedError`."""
        with contextlib.ExitStack() as stack:
            while True:
                if self.stop:
                    raise StoppedError
                with contextlib.suppress(BlockingIOError):
                    stack.enter_context(self.sweep.held("slurm", wait_s=1.0))
                    break
            yield

    def _next(self) -> RunDir | Nothing:
        """The next run, claimed. What follows when others have ended is waited for."""
        while (found := self._patiently(self._claim)) is Nothing.LATER:
            self._sleep(WAIT_S)
        return found

    def _claim(self) -> RunDir | Nothing:
        with self._locked():
            spec, history = self._read_spec(), self.study.history()
            if self.orders and self._is_late(history):
                return Nothing.LATE
            return self.claims.next(self.study, spec, history)

    def _read_spec(self) -> Spec:
        spec = Spec.read(self.sweep)
        if spec != self.spec:  # of a later launch
            self.spec, self.study = spec, spec.study(self.sweep)
        return spec

    def _is_late(self, history: History) -> bool:
        """Whether less time is left than an epoch takes, by the slowest run so far."""
        slowest = max((3600 * trial.hours / len(trial.curve) for trial in history.trials if trial.curve), default=0.0)
        return time.monotonic() + slowest > self.ends

    def _train(self, run: RunDir) -> int | None:
        """Train a run to its end. Returns the exit code if the job ends before."""
        self.signature, self.last_epoch = (config := run.config()).signature, config.train.epochs
        attempts = len(run.run().get("attempts", []))
        if refused := self.starts.refusal_of(run.name, attempts, self.array.requeue):
            self._patiently(functools.partial(release, run, *refused))
            return None
        self._patiently(functools.partial(self.starts.note, run=run.name, attempts_before=attempts))
        failures = 0
        while True:
            waits = self.waits
            try:
                self._patiently(functools.partial(self._prepare, run))
                training = self._patiently(self._start)
            except UserError as error:  # its folder was deleted
                print(f"{now()} {error}", flush=True)
                return None
            code = self._watch(training) if training else EXIT_STOPPED
            if self._has_ended(run):
                return None
            if self.stop:
                stop = self._why()
                self._record(outcome=stop.why, ended=now())
                return self._stopped(stop)
            state, reason = self._failure(training)
            self._patiently(functools.partial(self._record, outcome=f"{state}: {reason}", ended=now()))
            failures += self.waits == waits  # the folder could not be written to: that is no failure of the run
            is_bad = state not in AGAIN or run.bad_batch_file.exists()
            if is_bad or failures > self.study.block.max_failures:
                times = f", {failures} times" if failures > 1 else ""
                ended = State.FAILED if state is State.INTERRUPTED else state  # else it would begin again and again
                self._patiently(functools.partial(self._note, ended, f"{reason}{times}", exit_code=code))
                return None
            print(f"{now()} {run.name}: {state} {reason}; it is started again", flush=True)

    def _prepare(self, run: RunDir) -> None:
        """Begin another attempt at a run."""
        self.run, self.logs = run, attempt_folder(run, number := next_attempt(run))
        self.judged, self.judged_size = run.state().judged_epoch or 0, -1
        self._record(outcome="", job=self.id, started=now())
        self._order(run, number)

    def _is_to_stop(self) -> bool:
        """Whether the run was cancelled, or is judged to be stopped after an epoch that has ended since."""
        if not self.is_first:  # the first rank goes on with another run
            return int(read_json(self.order_file).get("number", 0)) > self.orders
        if self.run.state().cancelled is not None:
            return True
        try:
            size = self.run.metrics_file.stat().st_size
            if size == self.judged_size:
                return False
            for line in self.run.epochs():
                if self.judged < line["epoch"] < self.last_epoch:
                    if self.study.judge(self.run.name, line["epoch"]):
                        return True
                    self.judged = line["epoch"]
            self.judged_size = size
        except FileNotFoundError:  # nothing to judge yet
            return False
        except OSError as error:  # the next look judges
            self._wait_for_folder(error)
        return False

    def _has_ended(self, run: RunDir) -> bool:
        """Whether the run has come to its end, which is noted: complete, stopped early or cancelled."""
        state = run.state()
        if run.result(self.signature):
            outcome, note = "complete", functools.partial(self._note, State.COMPLETE)
        elif state.stopped_epoch is not None and not state.promoted:
            outcome, note = "stopped early", functools.partial(print, f"{now()} {run.name}: stopped early", flush=True)
        elif state.cancelled is not None:
            outcome, note = "cancelled", functools.partial(release, run, State.CANCELLED, state.reason)
        else:
            return False
        self._patiently(functools.partial(self._record, outcome=outcome, ended=now()))
        self._patiently(note)
        return True

    def _failure(self, training: TrainingProcess | None) -> tuple[State, str]:
        if self.peers.world_size > 1:
            time.sleep(1)  # ranks fail at about the same time
        return self._judge(training, self.signature, self._other_rank_ended())

    def _stopped(self, stop: Stop) -> int:
        """End the job, and requeue it unless its budget is used up. The claim on the run stays, or is given up."""
        with contextlib.suppress(OSError):
            self.starts.note(outcome=stop.why)
        if run := self.claimed:
            is_over = run.result() is not None or run.state().stopped_epoch is not None
            self.claimed = None if is_over else run
        if stop.why == "cancelled":  # by scancel: another worker goes on with the run, unless it was cancelled too
            self._note(State.INTERRUPTED, "its worker was cancelled")
            return EXIT_STOPPED
        refused = None
        if run := self.claimed:
            refused = self.starts.refusal_of(run.name, len(run.run().get("attempts", [])), self.array.requeue)
        if not refused and (why := self.starts.refusal(self.array.requeue)):
            refused = State.INTERRUPTED, f"its worker {why}"
        return self._end(stop, refused)

    def _note(self, state: State, reason: str = "", **details: Any) -> None:
        """Note the state of the run; a claim on one that is interrupted is given up. Nothing between two runs."""
        if self.claimed is None or self.claimed.state().cancelled is not None:
            return
        self.run = self.claimed
        if state is State.INTERRUPTED:
            details |= {"job_name": None, "position": None}
        with self._if_possible():
            super()._note(state, reason, **details)

    def _record(self, **values: Any) -> None:
        with self._if_possible():
            super()._record(**values)

    def _if_possible(self) -> contextlib.AbstractContextManager[None]:
        """Once the job is to stop, what cannot be written is left out."""
        return contextlib.suppress(OSError) if self.stop else contextlib.nullcontext()

    def _order(self, run: RunDir | None, attempt: int) -> None:
        """Let the other ranks train an attempt at this run; None: they end."""
        self.orders += 1
        if self.peers.world_size > 1:
            order = {"step": self.step, "number": self.orders, "run": run.name if run else "", "attempt": attempt}
            write_json(self.order_file, order)

    def _follow(self) -> int:
        """Train what the first rank says, until it ends."""
        while not self.stop:
            order = read_json(self.order_file)
            if order.get("step") != self.step or order["number"] <= self.orders:
                time.sleep(POLL_S)
                continue
            if not order["run"]:
                return 0
            self.orders = order["number"]
            self.run = RunDir(self.sweep.folder / order["run"])
            self.logs = attempt_folder(self.run, order["attempt"])
            if (training := self._patiently(self._start)) is not None:
                before = training.attempts_before
                code = self._watch(training)
                self._patiently(
                    functools.partial(self._report_end, code, len(self.run.run().get("attempts", [])) > before)
                )
        return 0
