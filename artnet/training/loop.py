"""The training of one run, from its configuration to `result.json`."""

import math
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from shards.errors import UserError
from shards.index import Index
from shards.reader import Reader
from shards.workers import cores

from ..config import RunConfig, Task
from ..data.dataset import SplitData
from ..data.loader import load
from ..data.sampler import train_batches
from ..models.pretrained import start_from
from ..rundir import Result, RunDir, Scores, TaskResult, write_json
from . import checkpoint
from .inputs import on_device
from .journal import Journal
from .learner import Learner
from .losses import Objective, fetch, log_priors
from .ranks import Ranks
from .scores import Predictions, predict
from .stop import StopRequest
from .watch import Watch

CHECKPOINT_VERSION = 3


class StoppedOnRequest(Exception):
    """A signal asked for it: the checkpoint is saved, start the run again to go on."""


@dataclass
class Progress:
    """What a checkpoint knows beside model and optimizer.

    `loss` sums the steps of the unfinished epoch, `window` those since step `logged`, the last that has a line.
    """

    step: int = 0
    loss: float = 0.0
    window: float = 0.0
    logged: int = 0
    seconds: float = 0.0
    best_epoch: int = 0
    best_val: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def best_top1(self) -> float:
        """Mean top-1 over the heads at the best epoch, -1 before the first."""
        return mean_top1(self.best_val) if self.best_val else -1.0


def mean_top1(scores: dict[str, dict[str, Any]]) -> float:
    """What models are chosen by: the mean of the heads' top-1."""
    return float(sum(task["top1"] for task in scores.values()) / len(scores))


class Training:
    """One run being trained by this process and its peers."""

    def __init__(self, config: RunConfig, index: Index, run: RunDir, ranks: Ranks, stop: StopRequest) -> None:
        parts = ranks.world_size * config.train.accumulate
        if config.train.batch_size % parts:
            raise UserError(
                f"train.batch_size {config.train.batch_size} cannot be divided among {ranks.world_size} ranks "
                f"with train.accumulate {config.train.accumulate}; it counts the samples of all ranks together: "
                f"make it a multiple of {parts}"
            )
        self.config, self.run, self.ranks, self.stop = config, run, ranks, stop
        reader = Reader(index)
        self.data: dict[str, SplitData] = {
            split: SplitData(config, split, index, reader) for split in ("train", "val", "test")
        }
        self.steps_per_epoch = len(self.data["train"]) // config.train.batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"train.batch_size {config.train.batch_size} is more than the {len(self.data['train'])} "
                f"training paintings in {index.folder}; make it smaller"
            )
        self.steps = self.steps_per_epoch * config.train.epochs
        self.fingerprint = index.fingerprint
        self.threads = config.data.threads or max(1, cores() // ranks.local_world_size)
        self.classes: dict[str, int] = {task: len(index.classes[task]) for task in config.task}

        self.class_names = index.classes
        self.log_priors = log_priors(self.data["train"].labels, self.classes)
        objective = Objective(config.loss, self.log_priors, ranks)
        self.learner = Learner(config, self.classes, ranks, self.steps, self.steps_per_epoch, objective)
        self.progress = Progress()
        if not self._resume() and (config.pretrained or config.init_from):
            said = start_from(self.learner.model, config)
            if ranks.is_first:
                print(f"{run.name}: {said}", file=sys.stderr)
        self.learner.share_gradients()

    def fit(self) -> Result:
        """Train what is left and test the best epoch once. Raises `StoppedOnRequest` and `DivergedError`."""
        progress = self.progress
        epochs = self.config.train.epochs
        journal = Journal(self.run, progress.step, self.steps, epochs) if self.ranks.is_first else None
        try:
            while not self._is_over:
                self._epoch(journal)
            if journal and progress.step < self.steps:
                journal.say(
                    f"stopped early after epoch {self._epochs_done} of {epochs}: "
                    f"val top-1 was not better than in epoch {progress.best_epoch} for {self.config.train.early_stop} "
                    f"epoch{'s' if self.config.train.early_stop > 1 else ''} (train.early_stop)"
                )
        finally:
            if journal:
                journal.close()
        return self._test()

    @property
    def _epochs_done(self) -> int:
        return self.progress.step // self.steps_per_epoch

    @property
    def _is_over(self) -> bool:
        """Whether there is nothing left to train: all steps are done, or val has not got better for too long."""
        patience = self.config.train.early_stop
        is_stale = bool(patience) and self._epochs_done - self.progress.best_epoch >= patience
        return self.progress.step >= self.steps or is_stale

    def _epoch(self, journal: Journal | None) -> None:
        config, progress, ranks, data = self.config, self.progress, self.ranks, self.data["train"]
        epoch, done = divmod(progress.step, self.steps_per_epoch)
        batches = train_batches(len(data), config.train.batch_size, ranks.rank, ranks.world_size)[done:]
        started = saved = time.monotonic()
        seconds_before = progress.seconds
        watch = Watch(config.train.batch_size, ranks.device)
        pending: list[torch.Tensor] = []
        loaded = load(data, data.plan(epoch), batches, self.threads, ranks.on_gpu)
        for batch in watch.waiting(on_device(loaded, ranks.device)):
            report = self.learner.step(batch, progress.step)
            progress.step += 1
            pending.append(report.loss)

            at_end = progress.step % self.steps_per_epoch == 0
            is_due = time.monotonic() - saved > 60 * config.train.checkpoint_minutes
            stopping, due, spoilt = ranks.any(bool(self.stop), is_due, data.is_spoilt)
            if spoilt:
                self._share_damage("train")
            is_logged = progress.step == 1 or progress.step % config.train.log_every == 0
            if at_end or stopping or due or is_logged:
                self._drain(pending)
            if is_logged:
                mean = progress.window / (progress.step - progress.logged)
                progress.window, progress.logged = 0.0, progress.step
                if journal:
                    values = {"loss": mean, "lr": report.lr, **watch.lap(), **self.learner.objective.told()}
                    if math.isfinite(norm := float(report.grad_norm)):  # fp16 skips a step whose gradient overflows
                        values["grad_norm"] = norm
                    journal.log("step", {"epoch": epoch + 1, "step": progress.step, **values})
            if journal:
                journal.step(progress.step)
            if not at_end and (stopping or due):
                progress.seconds = seconds_before + time.monotonic() - started
                self._save("last.pt")
                saved = time.monotonic()
                if stopping:
                    raise StoppedOnRequest(
                        f"stopped by {self.stop.name or 'a signal'} after step {progress.step} of {self.steps}"
                    )
        self._close_epoch(epoch + 1, journal, started, seconds_before, self.steps_per_epoch - done)

    def _drain(self, pending: list[torch.Tensor]) -> None:
        """Add the losses of the steps since the last call to the sums, step by step: when it is called is the same."""
        for loss in fetch(pending, self.ranks, self.progress.step):
            self.progress.loss += loss
            self.progress.window += loss
        pending.clear()

    def _close_epoch(
        self, epoch: int, journal: Journal | None, started: float, seconds_before: float, steps: int
    ) -> None:
        trained = time.monotonic()
        progress = self.progress
        self._share_damage("train")
        scores = {str(task): found.scores().model_dump() for task, found in self._predict("val").items()}
        if mean_top1(scores) > progress.best_top1:
            progress.best_epoch, progress.best_val = epoch, scores
        values: dict[str, Any] = {
            "train/loss": progress.loss / self.steps_per_epoch,
            "val/nll": sum(task["nll"] for task in scores.values()) / len(scores),
            "val/top1": mean_top1(scores),
        }
        for task, score in scores.items():
            values.update({f"val/{task}/{name}": value for name, value in score.items() if name != "n"})
        values["images_per_s"] = round(self.config.train.batch_size * steps / (trained - started), 1)
        progress.seconds = seconds_before + time.monotonic() - started
        values["seconds"] = round(progress.seconds, 2)
        progress.loss = 0.0
        if journal:
            journal.log("epoch", {"epoch": epoch, "step": progress.step, **values})
        # In this order: a kill in between leaves a last.pt that is the best, which `_resume` saves again.
        self._save("last.pt")
        if progress.best_epoch == epoch:
            self._save("best.pt")
        if not self._is_over and all(self.ranks.any(bool(self.stop))):
            raise StoppedOnRequest(
                f"stopped by {self.stop.name or 'a signal'} after epoch {epoch} of {self.config.train.epochs}"
            )

    def _predict(self, split: str) -> dict[Task, Predictions]:
        model = self.learner.for_evaluation()
        self.ranks.same_buffers(model)
        predictions = predict(model, self.data[split], self.ranks, self.threads, self.log_priors)
        self._share_damage(split)
        return predictions

    def _test(self) -> Result:
        started = time.monotonic()
        state = checkpoint.load(self.run.checkpoints / "best.pt", self.ranks.device)
        if state is None or state["progress"]["best_epoch"] != self.progress.best_epoch:
            raise UserError(
                f"{self.run.checkpoints / 'best.pt'} is missing or of another epoch; delete the run to train it again"
            )
        self.learner.for_evaluation().load_state_dict(state["model"])
        predictions = {split: self._predict(split) for split in ("val", "test")}
        result = Result(
            signature=self.config.signature,
            data=self.fingerprint,
            best_epoch=self.progress.best_epoch,
            epochs=self._epochs_done,
            steps=self.progress.step,
            parameters=sum(parameter.numel() for parameter in self.learner.model.parameters()),
            seconds=round(self.progress.seconds + time.monotonic() - started, 2),
            tasks={
                task: TaskResult(
                    classes=self.classes[task],
                    majority=self.data["test"].majority_share(task),
                    val=Scores.model_validate(self.progress.best_val[task]),
                    test=predictions["test"][task].scores(),
                )
                for task in self.config.task
            },
        )
        if self.ranks.is_first:
            from .board import write_final  # matplotlib takes a while, and until now nobody needed it

            write_final(self.run, self.config, result, predictions, self.class_names)
            write_json(self.run.result_file, result.model_dump(mode="json"))
        self.ranks.wait()
        return result

    def _save(self, name: str) -> None:
        if self.ranks.is_first:
            state: dict[str, Any] = {
                "version": CHECKPOINT_VERSION,
                "signature": self.config.signature,
                "data": self.fingerprint,
                "progress": vars(self.progress),
            }
            if name == "last.pt":
                state["learner"] = self.learner.state_dict()
            else:
                state["model"] = self.learner.for_evaluation().state_dict()
            checkpoint.save(self.run.checkpoints / name, state)
        self.ranks.wait()

    def _resume(self) -> bool:
        """Go on from the last checkpoint, if there is one."""
        file = self.run.checkpoints / "last.pt"
        state = checkpoint.load(file, self.ranks.device)
        if state is None:
            return False
        wanted = (CHECKPOINT_VERSION, self.config.signature, self.fingerprint)
        if (state.get("version"), state.get("signature"), state.get("data")) != wanted:
            raise UserError(f"{file} belongs to another configuration or other shards; choose another --run-dir")
        self.learner.load_state_dict(state["learner"])
        self.progress = Progress(**state["progress"])
        if self.progress.step == self.progress.best_epoch * self.steps_per_epoch:
            self._save("best.pt")
        return True

    def _share_damage(self, split: str) -> None:
        """Tell all ranks which paintings any of them found damaged. Raises `UserError` if they are too many."""
        data = self.data[split]
        data.note_damaged(self.ranks.union(set(data.damaged)))  # threads may be adding to it
        data.refuse_spoilt()

    def damaged(self) -> list[str]:
        """Keys of the paintings that were found damaged."""
        return sorted(set().union(*(data.damaged for data in self.data.values())))
