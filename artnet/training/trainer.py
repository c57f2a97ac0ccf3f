"""Train one run, from its configuration to `result.json`."""

import math
import sys
import time
from typing import Any

import torch

from shards.errors import UserError
from shards.index import Index

from ..checkpoint import BEST, LAST
from ..config import RunConfig, Task
from ..data.dataset import all_splits
from ..data.epoch import EpochPlan
from ..data.loader import load
from ..data.sampler import train_batches
from ..distributed.ranks import DelayedAny, Ranks
from ..errors import StoppedOnRequest
from ..heartbeat import shown
from ..inference.forward import on_device, precision_warning
from ..inference.predict import Predictions, log_priors, predict
from ..inference.record import as_stored, write_predictions
from ..models.pretrained import start_from
from ..result import Result
from ..rundir import RunDir
from ..stop import StopRequest
from .checkpoints import CheckpointManager
from .divergence import check_losses
from .learner import Learner, StepReport
from .losses import Objective, gather_losses
from .metrics import MetricsLogger, Throughput, TolerateWriteErrors
from .progress import Progress, mean_top1
from .result import make_result, write_result


class Trainer:
    """Trains one run, together with the other ranks."""

    def __init__(
        self, config: RunConfig, index: Index, run: RunDir, ranks: Ranks, stop: StopRequest, accumulate: int
    ) -> None:
        """`accumulate` replaces `train.accumulate`: the same, or more after running out of memory.

        Raises `UserError` if the configuration does not fit the data or the number of ranks.
        """
        config.check_divides(ranks.world_size, accumulate)
        self.config, self.run, self.ranks, self.stop = config, run, ranks, stop
        self.data = all_splits(config, index)
        self.steps_per_epoch = len(self.data["train"]) // config.train.batch_size
        if not self.steps_per_epoch:
            raise UserError(
                f"train.batch_size {config.train.batch_size} is more than the {len(self.data['train'])} "
                f"training paintings in {index.folder}; make it smaller"
            )
        self.steps = self.steps_per_epoch * config.train.epochs
        self.index = index
        self.threads = config.data.threads or ranks.threads
        self.log_priors = log_priors(
            self.data["train"].labels, {task: len(index.classes[task]) for task in config.task}
        )
        divided = config.model_copy(update={"train": config.train.model_copy(update={"accumulate": accumulate})})
        objective = Objective(config.loss, self.log_priors, ranks)
        self.learner = Learner(divided, self.classes, ranks, self.steps, self.steps_per_epoch, objective)
        self.progress = Progress()
        self.checkpoints = CheckpointManager(run, config.signature, index.fingerprint, ranks)
        self.tolerate_write_errors = TolerateWriteErrors(run.name)
        if not self._resume() and (config.pretrained or config.init_from):
            message = start_from(self.learner.model, config)
            if ranks.is_first:
                print(f"{run.name}: {message}", file=sys.stderr)
        self.first_step = self.progress.step  # of this process
        self.learner.share_gradients()
        if ranks.is_first and (warning := precision_warning(ranks.device, config.train.precision)):
            print(f"{run.name}: {warning}", file=sys.stderr)

    @property
    def classes(self) -> dict[str, int]:
        """The number of classes of each task."""
        return {task: len(prior) for task, prior in self.log_priors.items()}

    def fit(self) -> Result:
        """Train the remaining epochs and test the best one. Raises `StoppedOnRequest` or `FailedError`."""
        progress, train = self.progress, self.config.train
        logger = MetricsLogger(self.run, progress, self.steps, train.epochs) if self.ranks.is_first else None
        try:
            while not self._is_over:
                self._epoch(logger)
            self.checkpoints.finish()
            if logger and progress.epochs < train.epochs:
                logger.say(
                    f"stopped early after epoch {progress.epochs} of {train.epochs}: val top-1 was not better than "
                    f"in epoch {progress.top1_epoch} for {train.early_stop} epoch{'s'[: train.early_stop > 1]} "
                    "(train.early_stop)"
                )
        finally:
            self.checkpoints.close()
            if logger:
                with self.tolerate_write_errors():
                    logger.close()
        return self._test()

    @property
    def _is_over(self) -> bool:
        """Whether all epochs are trained, or val top-1 has not improved for `train.early_stop` of them."""
        progress, train = self.progress, self.config.train
        is_stale = bool(train.early_stop) and progress.epochs - progress.top1_epoch >= train.early_stop
        return progress.epochs >= train.epochs or is_stale

    def _epoch(self, logger: MetricsLogger | None) -> None:
        config, progress, ranks, data = self.config, self.progress, self.ranks, self.data["train"]
        epoch, done = progress.epochs, progress.step - progress.epochs * self.steps_per_epoch
        plan = data.plan(epoch)
        batches = train_batches(len(data), config.train.batch_size, ranks.rank, ranks.world_size)[done:]
        started = saved = time.monotonic()
        seconds_before = progress.seconds
        throughput = Throughput(config.train.batch_size, ranks.device)
        pending: list[torch.Tensor] = []
        on_any_rank = DelayedAny(ranks)
        if logger:
            logger.now("reading the first batch")
        loaded = on_device(load(data, plan, batches, self.threads, ranks.pinned_bytes), ranks.device)
        for batch in throughput.waiting(self.stop.waiting_for_first(loaded)):
            if logger and progress.step == self.first_step:
                logger.now("compiling the network" if config.train.compile else "taking the first step")
            report = self.learner.step(batch, progress.step)
            progress.step += 1
            pending.append(report.loss)

            at_end = progress.step % self.steps_per_epoch == 0
            # Of rank 0's clock, and until it is saved: with several ranks, a second request would follow the first.
            is_due = ranks.is_first and time.monotonic() - saved > 60 * config.train.checkpoint_minutes
            saved = time.monotonic() if is_due else saved
            stopping, due, too_damaged, cannot_save = on_any_rank(
                bool(self.stop), is_due, data.has_too_much_damage, self.checkpoints.has_given_up()
            )
            if cannot_save:
                self.checkpoints.raise_error()
            if too_damaged:
                self._share_damage("train")
            is_logged = progress.step == 1 or progress.step % config.train.log_every == 0
            if at_end or stopping or due or is_logged:
                self._drain(pending, plan)
            if is_logged:
                self._log(logger, epoch, report, throughput)
            if logger:
                logger.step(progress.step, epoch + 1)
            if not at_end and (stopping or due):
                progress.seconds = seconds_before + time.monotonic() - started
                self._save()
                saved = time.monotonic()
                if stopping:
                    self.checkpoints.finish()
                    raise StoppedOnRequest(
                        f"stopped by {self.stop.name or 'a signal'} after step {progress.step} of {self.steps}"
                    )
        self._close_epoch(epoch + 1, logger, started, seconds_before, self.steps_per_epoch - done)

    def _drain(self, pending: list[torch.Tensor], plan: EpochPlan) -> None:
        """Fetch and record the losses of the steps since the last call. Raises `DivergedError` if one is not finite."""
        losses = gather_losses(pending, self.ranks)
        pending.clear()
        if self.learner.scaler.is_enabled():  # fp16 skips steps that overflow
            losses = [loss for loss in losses if math.isfinite(loss)] or losses
        step, data, is_first = self.progress.step, self.data["train"], self.ranks.is_first
        check_losses(losses, step, self.steps_per_epoch, data, plan, self.run, is_first)
        self.progress.add(losses)

    def _log(self, logger: MetricsLogger | None, epoch: int, report: StepReport, throughput: Throughput) -> None:
        loss, step = self.progress.pop_window_mean(), self.progress.step
        if not logger:
            return
        values = {"loss": loss, "lr": report.lr, **throughput.measure(), **self.learner.objective.learned_weights()}
        if math.isfinite(norm := float(report.grad_norm)):  # fp16 skips steps whose gradient overflows
            values["grad_norm"] = norm
        with self.tolerate_write_errors():
            logger.log("step", {"epoch": epoch + 1, "step": step, **values})

    def _close_epoch(
        self, epoch: int, logger: MetricsLogger | None, started: float, seconds_before: float, steps: int
    ) -> None:
        trained = time.monotonic()
        progress = self.progress
        if logger:
            logger.now("evaluating on val")
        self._share_damage("train")
        try:
            scores = {str(task): found.scores().model_dump() for task, found in self._predict("val").items()}
        except StoppedOnRequest:
            progress.seconds = seconds_before + time.monotonic() - started
            self._save()
            self.checkpoints.finish()
            raise
        progress.seconds = seconds_before + time.monotonic() - started
        values: dict[str, Any] = {
            "train/loss": progress.loss / self.steps_per_epoch,
            "val/nll": sum(task["nll"] for task in scores.values()) / len(scores),
            "val/top1": mean_top1(scores),
        }
        for task, score in scores.items():
            values.update({f"val/{task}/{name}": value for name, value in score.items() if name != "n"})
        values["images_per_s"] = round(self.config.train.batch_size * steps / (trained - started), 1)
        values["seconds"] = round(progress.seconds, 2)
        progress.close_epoch(epoch, scores)
        if logger:
            with self.tolerate_write_errors():
                logger.log("epoch", {"epoch": epoch, "step": progress.step, **values})
        self._save(is_best=progress.best_epoch == epoch)

    def _predict(self, split: str) -> dict[Task, Predictions]:
        self.ranks.broadcast_buffers(self.learner.for_evaluation())
        predictions = predict(
            self.learner.evaluator, self.data[split], self.ranks, self.threads, self.log_priors, self.stop
        )
        self._share_damage(split)
        return predictions

    def _test(self) -> Result:
        started = time.monotonic()
        self.run.check_exists()
        state = self.checkpoints.best(self.progress.best_epoch)
        if state is None:
            raise UserError(
                f"{self.run.checkpoints / BEST}, the weights of epoch {self.progress.best_epoch}, is missing or "
                f"broken; restore it from a backup, or delete {self.run.checkpoints} to train the run from scratch"
            )
        self.learner.for_evaluation().load_state_dict(state["model"])
        with shown("evaluating the best epoch on val and test"):
            predictions = {split: self._predict(split) for split in ("val", "test")}
        seconds = self.progress.seconds + time.monotonic() - started
        parameters = sum(parameter.numel() for parameter in self.learner.model.parameters())
        majorities = {task: self.data["test"].majority(task) for task in self.config.task}
        result = make_result(self.config, self.index, self.progress, predictions, majorities, parameters, seconds)
        if self.ranks.is_first:
            self.run.check_exists()
            from .tensorboard import write_final  # here, because it imports matplotlib, which takes a while

            with self.tolerate_write_errors():
                write_final(self.run, self.config, result, predictions, self.index.classes)
            epoch, device = self.progress.best_epoch, self.ranks.device
            stored = as_stored(self.config, self.index, self.data, predictions, self.log_priors, epoch, device)
            write_predictions(self.run, stored)
            has_all = self.checkpoints.complete_best(state, dict(vars(self.progress)))
            write_result(self.run, result)
            if has_all and self.config.train.keep == "best":
                self.checkpoints.remove_all_but_best()
        self.ranks.wait()
        return result

    def _save(self, is_best: bool = False) -> None:
        """Save `last.pt`, and `best.pt` if this is the best epoch so far, in the background."""
        published = self.learner.for_evaluation().state_dict() if is_best else None
        self.checkpoints.save(dict(vars(self.progress)), self.learner.state_dict(), published)

    def _resume(self) -> bool:
        """Resume from the last checkpoint, if there is one. Returns whether there is."""
        state = self.checkpoints.resume()
        if state is None:
            return False
        self.progress = Progress(**state["progress"])
        if "learner" not in state:
            if not self._is_over:
                raise UserError(
                    f"{self.run.checkpoints / BEST}, of epoch {self.progress.best_epoch}, is the only checkpoint, and "
                    f"the training cannot go on from it; restore {LAST} or result.json from a backup, or delete "
                    f"{self.run.checkpoints} to train the run from scratch"
                )
            return True
        self.learner.load_state_dict(state["learner"])
        ends_best = self.progress.step == self.progress.best_epoch * self.steps_per_epoch
        self.checkpoints.ensure_best(state["progress"], self.learner.for_evaluation().state_dict(), ends_best)
        return True

    def _share_damage(self, split: str) -> None:
        """Share the keys of damaged paintings among all ranks. Raises `UserError` if there are too many."""
        data = self.data[split]
        data.note_damaged(self.ranks.union(set(data.damaged)))  # a copy, as threads may be adding to it
        data.check_damage()

    def damaged(self) -> list[str]:
        """The sorted keys of all damaged paintings found so far."""
        return sorted(set().union(*(data.damaged for data in self.data.values())))
