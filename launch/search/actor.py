"""A run of a search as Ray Tune sees it: an actor that starts the training and reports its epochs."""

import contextlib
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from ray import tune

from artnet.rundir import RunDir
from shards.files import open_regular

from ..host.environment import training_environment
from ..host.lifeline import stops_with_parent
from ..host.locks import claim
from ..sweep.attempt import TrainingProcess, attempt_folder, next_attempt, training_command
from ..sweep.folder import cancelled_since, note_state
from ..sweep.state import State
from . import ray_cluster
from .share import Share

POLL_S = 0.1
CANCELLED_EVERY_S = 1.0
AGAIN = (State.FAILED, State.INTERRUPTED)  # a run that ended so is started again


class TrialActor(tune.Trainable):
    """One run: the training program as a process of its own, reported epoch by epoch.

    `config["run"]` holds its `folder`, the `metric`, how often it may be started again (`max_failures`), its share of
    the machine (`cpus`, `gpus`, `processes`, `threads`), and when the search `began`; also whether each run takes CPUs
    of its own, by a lock in Ray's folder on its node (`binds`), and the CPUs `near` each GPU.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Look at the run."""
        self.wanted = wanted = config["run"]
        self.cpus_lock: int | None = None
        self.run = RunDir(Path(wanted["folder"]))
        settings = self.run.config()
        self.signature, self.last_epoch = settings.signature, settings.train.epochs
        self.reported = self.failures = 0
        self.process: TrainingProcess | None = None
        self.looked = 0.0
        self.printed: dict[Path, int] = {}

    def __repr__(self) -> str:
        return self.run.name if hasattr(self, "run") else type(self).__name__

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> Any:
        """The CPUs and GPUs of the run."""
        wanted = config["run"]
        return tune.PlacementGroupFactory([{"CPU": wanted["cpus"], "GPU": wanted["gpus"]}])

    def step(self) -> dict[str, Any]:
        """Wait for the next epoch and report it; with the last one, wait until the run is complete."""
        while True:
            complete = self.run.result(self.signature) is not None
            over = complete or not self._keep_training()
            epochs = self.run.epochs()
            self._print_output()
            if len(epochs) > self.reported and (over or epochs[self.reported]["epoch"] < self.last_epoch):
                epoch = epochs[self.reported]
                self.reported += 1
                done = over and self.reported == len(epochs)
                return {"epoch": epoch["epoch"], "metric": epoch.get(self.wanted["metric"], math.nan), "done": done}
            if over and self.run.result(self.signature) is None:
                # Raising would have Ray print its own traceback; the reason is in the run's state.
                return {"epoch": max(1, self.reported), "metric": math.nan, "done": True}
            time.sleep(POLL_S)

    def save_checkpoint(self, folder: str) -> None:
        """Nothing: the run directory holds the checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: the training itself resumes from the run directory."""

    def cleanup(self) -> None:
        """Called when the run is over, or has been stopped early: then the training saves a checkpoint and ends."""
        with contextlib.ExitStack() as stack:
            if self.cpus_lock is not None:
                stack.callback(os.close, self.cpus_lock)
            if self.process is not None:
                self.process.stop()
                state, _ = self.process.judge(self.signature)
                if state is State.COMPLETE:
                    note_state(self.run, state)

    def _keep_training(self) -> bool:
        """Start the training if it does not go on by itself. False if it has come to its end."""
        if self.process is None:
            if cancelled_since(self.run, self.wanted["began"]) or not self.run.config_file.exists():
                return False
            if not self.run.is_locked():  # else a process of an earlier launch trains it
                self._start()
            return True
        code = self.process.exit_code
        if code is None:
            self._stop_if_cancelled()
            return True
        state, reason = self.process.judge(self.signature)
        if cancelled_since(self.run, self.wanted["began"]) and state is not State.COMPLETE:
            state, reason = State.CANCELLED, self.run.state().reason
        if state in AGAIN and self.failures < self.wanted["max_failures"] and not self.run.bad_batch_file.exists():
            self.failures += 1
            self._start()
            return True
        if self.run.state().stopped_epoch is None or state is State.COMPLETE:
            note_state(self.run, state, reason, exit_code=code)
        return False

    def _stop_if_cancelled(self) -> None:
        """End the training if its run was cancelled, perhaps on another machine, from which it cannot be ended."""
        if self.process and time.monotonic() - self.looked > CANCELLED_EVERY_S:
            self.looked = time.monotonic()
            if cancelled_since(self.run, self.wanted["began"]):
                self.process.stop()

    def _start(self) -> None:
        logs = attempt_folder(self.run, next_attempt(self.run))
        if self.run.state().stopped_epoch is None or self.run.state().promoted:
            note_state(self.run, State.RUNNING, launcher="tune")
        environment = {**training_environment(), "OMP_NUM_THREADS": str(self.wanted["threads"])}
        if not self.wanted["gpus"]:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides no GPU from a trial that gets none
        self.process = TrainingProcess.start(
            self.run,
            training_command(self.run, self.wanted["processes"]),
            logs / "stdout",
            logs / "stderr",
            environment,
            self._claim_cpus(),
            start_new_session=True,  # so that it saves a checkpoint when Ray's processes are killed
            preexec_fn=stops_with_parent(),
            pass_fds=() if self.cpus_lock is None else (self.cpus_lock,),
        )

    def _claim_cpus(self) -> list[int]:
        """Take the free part of the CPUs that is closest to the trial's GPU. Empty if there is none: all CPUs."""
        if self.cpus_lock is not None:
            return self.cpus
        parts = Share(self.wanted["cpus"], self.wanted["gpus"]).parts() if self.wanted["binds"] else []
        near = set(self.wanted["near"].get(os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0], ()))
        self.cpus: list[int] = []
        for number in sorted(range(len(parts)), key=lambda number: -len(near.intersection(parts[number]))):
            self.cpus_lock = claim(Path(os.environ[ray_cluster.FOLDER]) / f"cpus-{number}")
            if self.cpus_lock is not None:
                self.cpus = parts[number]
                break
        return self.cpus

    def _print_output(self) -> None:
        """Print what the training has written since, for the actor's log in Ray's dashboard."""
        for log in sorted(self.run.attempts.glob("*/std*")):
            with contextlib.suppress(OSError), open_regular(log) as file:
                file.seek(self.printed.get(log, 0))
                text = file.read(1 << 20)
                self.printed[log] = file.tell()
                sys.stdout.write(text.decode(errors="replace"))
        sys.stdout.flush()
