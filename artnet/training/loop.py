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

from ..config import RunConfig
from ..data.dataset import SplitData
from ..data.loader import load
from ..data.sampler import train_batches
from ..models.pretrained import load_pretrained
from ..rundir import Result, RunDir, Scores, TaskResult, write_json
from . import divergence
from .checkpoint import BEST
from .endings import SavingError, StoppedOnRequest
from .inputs import on_device
from .journal import Journal
from .learner import Learner
from .losses import DivergedError
from .ranks import Ranks
from .saving import Saving
from .scores import evaluate
from .seeding import seed_step
from .stop import StopRequest
from .writer import Indulgence


@dataclass
class Progress:
    """What a checkpoint knows beside model and optimizer. `loss` sums the steps of the unfinished epoch."""

    step: int = 0
    epochs: int = 0  # those that are over, validation included
    loss: float = 0.0
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

    def __init__(
        self, config: RunConfig, index: Index, run: RunDir, ranks: Ranks, stop: StopRequest, accumulate: int
    ) -> None:
        if config.train.batch_size % ranks.world_size:
            raise UserError(
                f"train.batch_size {config.train.batch_size} cannot be divided among {ranks.world_size} ranks; "
                "it counts the samples of all ranks together: make it a multiple"
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

        divided = config.model_copy(update={"train": config.train.model_copy(update={"accumulate": accumulate})})
        self.learner = Learner(divided, self.classes, ranks, self.steps, self.steps_per_epoch)
        self.progress = Progress()
        self.saving = Saving(run, config.signature, self.fingerprint, ranks)
        self.indulgence = Indulgence(run.name)
        if not self._resume() and config.pretrained:
            said = load_pretrained(self.learner.model, config.pretrained, config.model.backbone)
            if ranks.is_first:
                print(f"{run.name}: {said}", file=sys.stderr)
        self.learner.share_gradients()

    def fit(self) -> Result:
        """Train what is left and test the best epoch once. Raises `StoppedOnRequest` and `FailedError`."""
        journal = Journal(self.run, self.progress.step, self.steps) if self.ranks.is_first else None
        try:
            while self.progress.epochs < self.config.train.epochs:
                self._epoch(journal)
            self.saving.finish()
        finally:
            self.saving.close()
            if journal:
                with self.indulgence():
                    journal.close()
        return self._test()

    def _epoch(self, journal: Journal | None) -> None:
        config, progress, ranks, data = self.config, self.progress, self.ranks, self.data["train"]
        epoch, done = progress.epochs, progress.step - progress.epochs * self.steps_per_epoch
        plan = data.plan(epoch)
        batches = train_batches(len(data), config.train.batch_size, ranks.rank, ranks.world_size)[done:]
        started = saved = logged = time.monotonic()
        seconds_before = progress.seconds
        since_log: list[torch.Tensor] = []
        for batch in on_device(load(data, plan, batches, self.threads, ranks.on_gpu), ranks.device):
            seed_step(config.seed, progress.step, ranks)
            report = self.learner.step(batch, progress.step)
            progress.step += 1
            since_log.append(report.loss)

            at_end = progress.step % self.steps_per_epoch == 0
            is_due = time.monotonic() - saved > 60 * config.train.checkpoint_minutes
            stopping, due, spoilt, lost = ranks.any(bool(self.stop), is_due, data.is_spoilt, self.saving.has_given_up())
            if lost:
                self.saving.raise_error()
            if spoilt:
                self._share_damage("train")
            if at_end or stopping or due or progress.step % config.train.log_every == 0:
                if config.train.precision == "fp16" and ranks.on_gpu:
                    since_log = divergence.without_skipped(since_log, ranks)
                recent = list(since_log)
                try:
                    mean = self._drain(since_log)
                except DivergedError:
                    position = (progress.step - epoch * self.steps_per_epoch) * config.train.batch_size
                    raise divergence.explain(
                        recent, progress.step, epoch + 1, position, data, plan, self.run, ranks
                    ) from None
                now = time.monotonic()
                if journal:
                    rate = config.train.batch_size * mean["steps"] / (now - logged)
                    values = {"loss": mean["loss"], "lr": report.lr, "images_per_s": round(rate, 1)}
                    with self.indulgence():
                        journal.log("step", {"epoch": epoch + 1, "step": progress.step, **values})
                logged = now
            if journal:
                journal.step(progress.step)
            if not at_end and (stopping or due):
                progress.seconds = seconds_before + time.monotonic() - started
                self._save()
                saved = time.monotonic()
                if stopping:
                    self.saving.finish()
                    raise self._stopped()
        self._close_epoch(epoch + 1, journal, started, seconds_before, self.steps_per_epoch - done)

    def _drain(self, since_log: list[torch.Tensor]) -> dict[str, Any]:
        """Fetch the losses of the last steps, mean over steps and all ranks, and add them to the epoch's."""
        total = float(self.ranks.sum(torch.stack(since_log).sum()))
        steps = len(since_log)
        since_log.clear()
        if not math.isfinite(total):
            raise DivergedError(
                f"the loss became {total} before step {self.progress.step}; lower optim.lr or lengthen optim.warmup"
            )
        self.progress.loss += total
        return {"loss": total / steps, "steps": steps}

    def _close_epoch(
        self, epoch: int, journal: Journal | None, started: float, seconds_before: float, steps: int
    ) -> None:
        trained = time.monotonic()
        progress = self.progress
        self._share_damage("train")
        try:
            scores = self._evaluate("val")
        except StoppedOnRequest:
            progress.seconds = seconds_before + time.monotonic() - started
            self._save()
            self.saving.finish()
            raise
        if mean_top1(scores) > progress.best_top1:
            progress.best_epoch, progress.best_val = epoch, scores
        values: dict[str, Any] = {
            "train/loss": progress.loss / self.steps_per_epoch,
            "val/loss": sum(task["loss"] for task in scores.values()),
            "val/top1": mean_top1(scores),
        }
        for task, score in scores.items():
            values.update({f"val/{task}/{name}": value for name, value in score.items() if name != "n"})
        values["images_per_s"] = round(self.config.train.batch_size * steps / (trained - started), 1)
        progress.seconds = seconds_before + time.monotonic() - started
        values["seconds"] = round(progress.seconds, 2)
        progress.loss = 0.0
        progress.epochs = epoch
        if journal:
            with self.indulgence():
                journal.log("epoch", {"epoch": epoch, "step": progress.step, **values})
        self._save(is_best=progress.best_epoch == epoch)

    def _evaluate(self, split: str) -> dict[str, dict[str, Any]]:
        model = self.learner.for_evaluation()
        self.ranks.same_buffers(model)
        scores = evaluate(model, self.data[split], self.classes, self.ranks, self.threads, self.stop)
        self._share_damage(split)
        return {task: score.model_dump() for task, score in scores.items()}

    def _test(self) -> Result:
        started = time.monotonic()
        state = self.saving.best(self.progress.best_epoch)
        if state is None:
            raise UserError(
                f"{self.run.checkpoints / BEST}, the weights of epoch {self.progress.best_epoch}, is missing or "
                f"broken; bring it back from a copy, or delete {self.run.checkpoints} to train the run again"
            )
        self.learner.for_evaluation().load_state_dict(state["model"])
        test = self._evaluate("test")
        result = Result(
            signature=self.config.signature,
            data=self.fingerprint,
            best_epoch=self.progress.best_epoch,
            epochs=self.config.train.epochs,
            steps=self.steps,
            parameters=sum(parameter.numel() for parameter in self.learner.model.parameters()),
            seconds=round(self.progress.seconds + time.monotonic() - started, 2),
            tasks={
                task: TaskResult(
                    classes=self.classes[task],
                    majority=self.data["test"].majority_share(task),
                    val=Scores.model_validate(self.progress.best_val[task]),
                    test=Scores.model_validate(test[task]),
                )
                for task in self.config.task
            },
        )
        if self.ranks.is_first:
            try:
                write_json(self.run.result_file, result.model_dump(mode="json"))
            except OSError as error:
                raise SavingError(
                    f"{self.run.result_file} could not be written ({error.strerror}); make room and start it again: "
                    "only the test will be done again"
                ) from None
        self.ranks.wait()
        return result

    def _stopped(self) -> StoppedOnRequest:
        return StoppedOnRequest(
            f"stopped by {self.stop.name or 'a signal'} after step {self.progress.step} of {self.steps}"
        )

    def _save(self, is_best: bool = False) -> None:
        """Have `last.pt` written, and `best.pt` if this is the best epoch so far, while the training goes on."""
        published = self.learner.for_evaluation().state_dict() if is_best else None
        self.saving.save(dict(vars(self.progress)), self.learner.state_dict(), published)

    def _resume(self) -> bool:
        """Go on from the last checkpoint, if there is one."""
        state = self.saving.resume()
        if state is None:
            return False
        self.learner.load_state_dict(state["learner"])
        self.progress = Progress(**state["progress"])
        ends_best = self.progress.step == self.progress.best_epoch * self.steps_per_epoch
        self.saving.mend_best(state["progress"], self.learner.for_evaluation().state_dict(), ends_best)
        return True

    def _share_damage(self, split: str) -> None:
        """Tell all ranks which paintings any of them found damaged. Raises `UserError` if they are too many."""
        data = self.data[split]
        data.note_damaged(self.ranks.union(set(data.damaged)))  # threads may be adding to it
        data.refuse_spoilt()

    def damaged(self) -> list[str]:
        """Keys of the paintings that were found damaged."""
        return sorted(set().union(*(data.damaged for data in self.data.values())))
