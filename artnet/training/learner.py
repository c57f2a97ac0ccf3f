"""What learns: the network with its optimizer, and one step of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..config import RunConfig
from ..data.loader import Batch
from ..models import build_model
from .inputs import forward
from .losses import Objective, labelled
from .mixing import mix
from .optim import learning_rate, make_optimizer
from .ranks import Ranks


@dataclass(frozen=True)
class StepReport:
    """What a step measured. `loss` is a scalar on the device, this rank's part: the sum over ranks is the loss."""

    loss: torch.Tensor
    lr: float


class Learner:
    """The network of a run in training. `model` is bare, as it is saved; ranks share gradients inside `step`."""

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
        torch.manual_seed(config.seed)
        self.model = build_model(**config.model.model_dump(), classes=classes)
        self.model.to(ranks.device).to(memory_format=torch.channels_last)
        self.optimizer = make_optimizer(self.model, config.optim)
        self.objective = objective
        if learnt := list(objective.parameters()):
            self.optimizer.add_param_group({"params": learnt, "weight_decay": 0.0})
        self._parallel: nn.Module = self.model

    def share_gradients(self) -> None:
        """Give every rank the first one's weights and let all ranks step together. Call it when they are loaded."""
        if self.ranks.world_size > 1:
            devices = [self.ranks.device] if self.ranks.on_gpu else None
            self._parallel = DistributedDataParallel(self.model, device_ids=devices, gradient_as_bucket_view=True)

    def step(self, batch: Batch, step: int) -> StepReport:
        """Learn from a batch, as step number `step` of the run, from 0."""
        config = self.config
        lr = learning_rate(step, self.steps, self.steps_per_epoch, config.train.batch_size, config.optim)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self._parallel.train()
        self.optimizer.zero_grad(set_to_none=True)
        # The same draw on every rank, and after a resume.
        images, mixture = mix(batch, config.augment, np.random.default_rng([config.seed, step, 2]))
        logits = forward(self._parallel, images, config.train.precision)
        loss, part = self.objective(logits, mixture, labelled(mixture, self.ranks))
        loss.backward()
        self.optimizer.step()
        return StepReport(part, lr)

    def for_evaluation(self) -> nn.Module:
        """The network whose scores count and whose weights are published."""
        return self.model

    def state_dict(self) -> dict[str, Any]:
        """All that a later step depends on, of tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
