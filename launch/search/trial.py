"""One run of a search under Ray Tune."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from artnet.rundir import RunDir

from ..host.environment import training_environment
from ..host.locks import claim
from ..sweep.attempt import TrainingProcess, attempt_folder, next_attempt, training_command
from ..sweep.folder import cancelled_since, note_state
from ..sweep.state import State

POLL_S = 0.2


class Trial:
    """One run under Ray Tune: the training program as a process of its own, reported epoch by epoch.

    Mixed with `ray.tune.Trainable` in `search`, so that Ray is imported only when a search starts.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Look at the run. `config["run"]` holds its `folder`, whether to `train` it or only to report what it did,
        the `metric` to report, the `worst` value of it, the number of `threads`, whether it gets `gpus`, and when the
        search `began`; also the `parts` of the CPUs, of which each run takes one by a lock in the folder `locks`,
        and the CPUs `near` each GPU.
        """
        self.wanted = wanted = config["run"]
        self.cpus_lock: int | None = None
        self.run = RunDir(Path(wanted["folder"]))
        self.train: bool = wanted["train"]
        self.metric: str = wanted["metric"]
        self.worst: float = wanted["worst"]
        self.threads: int = wanted["threads"]
        self.began: float = wanted["began"]
        settings = self.run.config()
        self.signature, self.last_epoch = settings.signature, settings.train.epochs
        self.reported = 0
        self.process: TrainingProcess | None = None

    def step(self) -> dict[str, Any]:
        """Wait for the next epoch and report it; with the last one, wait until the run is complete."""
        while True:
            complete = self.run.result(self.signature) is not None
            over = complete or not self.train
            epochs = self.run.epochs()
            if len(epochs) > self.reported and (over or epochs[self.reported]["epoch"] < self.last_epoch):
                epoch = epochs[self.reported]
                self.reported += 1
                return {
                    "epoch": epoch["epoch"],
                    "metric": epoch.get(self.metric, self.worst),
                    "done": over and self.reported == len(epochs),
                }
            if not over and not self._keep_training():
                # Raising would have Ray print its own traceback; the reason is in the run's state.
                return {"epoch": max(1, self.reported), "metric": self.worst, "done": True}
            time.sleep(POLL_S)

    def save_checkpoint(self, folder: str) -> None:
        """Nothing: the run directory holds the checkpoints."""

    def load_checkpoint(self, folder: str) -> None:
        """Nothing: the training itself resumes from the run directory."""

    def cleanup(self) -> None:
        """Called when the run is over, or ASHA has stopped it: then the training saves a checkpoint and ends."""
        with contextlib.ExitStack() as stack:
            if self.cpus_lock is not None:
                stack.callback(os.close, self.cpus_lock)
            self._end()

    def _end(self) -> None:
        if self.process is None:
            return
        stopped = self.process.exit_code is None and self.run.result(self.signature) is None
        if stopped:
            self.process.stop()
        state, _ = self.process.judge(self.signature)
        if state is State.COMPLETE:
            note_state(self.run, state)
        elif stopped:
            note_state(self.run, State.CANCELLED, f"stopped by ASHA after epoch {self.reported}")

    def _keep_training(self) -> bool:
        """Start the training if it does not go on by itself. False if it has failed."""
        if self.process is None:
            if cancelled_since(self.run, self.began) or not self.run.config_file.exists():
                return False
            if not self.run.is_locked():  # else a process of an earlier launch trains it
                self._start()
            return True
        code = self.process.exit_code
        if code is None:
            return True
        state, reason = self.process.judge(self.signature)
        if state is State.COMPLETE:
            return True
        if cancelled_since(self.run, self.began):
            state, reason = State.CANCELLED, self.run.state().reason
        note_state(self.run, state, reason, exit_code=code)
        return False

    def _start(self) -> None:
        logs = attempt_folder(self.run, next_attempt(self.run))
        note_state(self.run, State.RUNNING, launcher="tune")
        environment = {**training_environment(), "OMP_NUM_THREADS": str(self.threads)}
        if not self.wanted["gpus"]:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # Ray hides no GPU from a trial that gets none
        self.process = TrainingProcess.start(
            self.run,
            training_command(self.run),
            logs / "stdout",
            logs / "stderr",
            environment,
            self._claim_cpus(),
            pass_fds=() if self.cpus_lock is None else (self.cpus_lock,),
        )

    def _claim_cpus(self) -> list[int]:
        """Take the free part of the CPUs that is closest to the trial's GPU. Empty if there is none: all CPUs."""
        near = set(self.wanted["near"].get(os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0], ()))
        parts: list[list[int]] = self.wanted["parts"]
        for number in sorted(range(len(parts)), key=lambda number: -len(near.intersection(parts[number]))):
            self.cpus_lock = claim(Path(self.wanted["locks"]) / f"cpus-{number}")
            if self.cpus_lock is not None:
                return parts[number]
        return []
