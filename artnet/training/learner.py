"""The network with its optimizer, and one training step."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..config import RunConfig
from ..data.batch import Batch
from ..distributed.ranks import Ranks
from ..inference.forward import PixelNetwork, allow_fast_kernels, forward, precision_on
from ..models import build_model
from .ema import WeightAverage
from .losses import MixedLabels, Objective, count_labelled
from .mixup import mix
from .optim import clip_gradients, complete_state, load_state, make_optimizer, set_learning_rate
from .schedule import learning_rate, warmup_steps


@dataclass(frozen=True)
class StepReport:
    """The measurements of a step. Tensors are scalars on the device.

    `loss` is this rank's part: the loss is the sum over ranks. `grad_norm` is the L2 norm of the gradient before
    clipping, the same on every rank. `lr` is the learning rate of the heads.
    """

    loss: torch.Tensor
    lr: float
    grad_norm: torch.Tensor


class Learner:
    """The network of a run in training. `model` is not wrapped by DDP; `step` averages gradients over ranks."""

    def __init__(
        self,
        config: RunConfig,
        classes: Mapping[str, int],
        ranks: Ranks,
        steps: int,
        steps_per_epoch: int,
        objective: Objective,
    ) -> None:
        self.config, self.ranks, self.steps, self.steps_per_epoch = config, ranks, steps, steps_per_epoch
        warmup_steps(steps, steps_per_epoch, config.optim)  # raises early
        if ranks.on_gpu:
            allow_fast_kernels()
        torch.manual_seed(config.seed)
        self.model = build_model(**config.model.model_dump(), classes=classes)
        self.model.to(ranks.device).to(memory_format=torch.channels_last)
        self.optimizer = make_optimizer(self.model.named_parameters(), config.optim, fused=ranks.on_gpu)
        self.objective = objective
        if learnt := list(objective.parameters()):
            self.optimizer.add_param_group({"params": learnt, "weight_decay": 0.0, "lr_factor": 1.0})
        complete_state(self.optimizer)
        half_life = config.optim.ema_half_life
        self.average = WeightAverage(self.model, half_life) if half_life else None
        is_half = precision_on(ranks.device, config.train.precision) == "fp16"
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=is_half)
        self._frozen = False
        self._synced: DistributedDataParallel | None = None
        self._network = PixelNetwork(self.model)
        self._parallel: nn.Module = self._network
        self.evaluator = self._compiled(PixelNetwork(self.for_evaluation()))

    def share_gradients(self) -> None:
        """Wrap the model with DDP, which broadcasts the weights of rank 0. Call it once the weights are loaded."""
        train = self.config.train
        self._parallel, self._synced = self._network, None  # removes the hooks of an earlier DDP
        if self.ranks.world_size > 1:
            self._parallel = self._synced = DistributedDataParallel(
                self._network,
                device_ids=[self.ranks.device] if self.ranks.on_gpu else None,
                gradient_as_bucket_view=True,
                # torch's static graph fails with no_sync (pytorch/pytorch#143580) and with a compiled network.
                static_graph=train.accumulate == 1 and not train.compile,
            )
            # Not at every step: only rank 0's statistics of batch norms are used, and `broadcast_buffers` shares them.
            # The argument of this name would also leave them out now, and newer versions of torch warn about it.
            self._synced.broadcast_buffers = False
        # Around DDP, as torch recommends: it splits the graph at DDP's buckets, so that communication overlaps.
        self._parallel = self._compiled(self._parallel)

    def _compiled(self, network: nn.Module) -> nn.Module:
        return cast(nn.Module, torch.compile(network)) if self.config.train.compile else network

    def step(self, batch: Batch, step: int) -> StepReport:
        """Train on a batch as step `step` of the run, counted from 0. Must be called on all ranks."""
        config = self.config
        lr = learning_rate(step, self.steps, self.steps_per_epoch, config.train.batch_size, config.optim)
        set_learning_rate(self.optimizer, lr)
        self.optimizer.zero_grad(set_to_none=True)
        self._set_training(frozen=step < config.train.freeze_epochs * self.steps_per_epoch)
        seed_step(config.seed, step, self.ranks)
        # The same draw on every rank and after a resume.
        images, mixture = mix(batch, config.augment, np.random.default_rng([config.seed, step, 2]))
        counted = count_labelled(mixture, self.ranks)
        total = torch.zeros((), device=images.device)
        for place, (part_images, part_mixture) in enumerate(_parts(images, mixture, config.train.accumulate), start=1):
            with self._unsynced() if place < config.train.accumulate else contextlib.nullcontext():
                logits = forward(self._parallel, part_images, config.train.precision)
                loss, part = self.objective(logits, part_mixture, counted(), config.train.accumulate)
                self.scaler.scale(loss).backward()
            total += part
        self.scaler.unscale_(self.optimizer)
        norm = clip_gradients(self.optimizer, config.optim.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average:
            self.average.update()
        return StepReport(total, lr, norm)

    def _set_training(self, frozen: bool) -> None:
        """Set training mode. `frozen` freezes all but the heads, including the statistics of batch norms."""
        parts = dict(self.model.named_children())
        if frozen == self._frozen and self.model.training:  # since the last step; evaluation changes it
            return
        if frozen != self._frozen:
            self._frozen = frozen
            for name, part in parts.items():
                part.requires_grad_(name == "heads" or not frozen)
            self.share_gradients()  # DDP determines which weights have gradients when it is created
        self._parallel.train()
        if frozen:
            for name, part in parts.items():
                part.train(name == "heads")

    def _unsynced(self) -> contextlib.AbstractContextManager[None]:
        """A context in which gradients accumulate locally, without communication."""
        return self._synced.no_sync() if self._synced else contextlib.nullcontext()

    def for_evaluation(self) -> nn.Module:
        """The network that is evaluated and published: the moving average, if there is one."""
        return self.average.model if self.average else self.model

    def state_dict(self) -> dict[str, Any]:
        """Everything that later steps depend on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state returned by `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        load_state(self.optimizer, state["optimizer"])
        if self.average:
            self.average.load_state_dict(state["average"])
        if state["scaler"]:  # empty if the run resumes on a GPU after a CPU
            self.scaler.load_state_dict(state["scaler"])


def seed_step(seed: int, step: int, ranks: Ranks) -> None:
    """Seed torch's generators from (seed, step, rank), so that a step depends on no earlier step and on no resume."""
    number = int(np.random.default_rng([seed, step, 3, ranks.rank]).integers(2**63))
    # Not torch.manual_seed: without a GPU it records a stack trace each time, to seed GPUs later.
    torch.default_generator.manual_seed(number)
    if ranks.on_gpu:
        torch.cuda.manual_seed(number)


def _parts(images: torch.Tensor, mixture: MixedLabels, parts: int) -> Iterator[tuple[torch.Tensor, MixedLabels]]:
    """Split a batch into equal parts, each with its labels."""
    labels = [(whole.chunk(parts), share) for whole, share in mixture]
    for place, part in enumerate(images.chunk(parts)):
        yield part, [(chunks[place], share) for chunks, share in labels]
