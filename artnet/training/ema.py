"""The exponential moving average of the weights, which is evaluated and published."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """An exponential moving average of a network's weights and buffers (Polyak and Juditsky, 1992).

    `half_life` is the number of steps after which a step's contribution is halved. The decay at update t is at most
    (1 + t) / (10 + t), as in TensorFlow's ExponentialMovingAverage, so that a short run is averaged over about its
    last tenth. The first update copies the weights.

    The statistics of batch norms are averaged too: copied ones would match the last step's weights, not the average.
    torch's AveragedModel does the same, but waits for the GPU at every update.
    """

    def __init__(self, model: nn.Module, half_life: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.updates = 0
        self._decay = 0.5 ** (1 / half_life)
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        # References: loading a state dict keeps these tensors. Integers (counts of batches) cannot be averaged.
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    def decay(self) -> float:
        """The weight of the current average in the next update."""
        t = self.updates
        return min(self._decay, (1 + t) / (10 + t)) if t else 0.0

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the model's current weights and buffers."""
        means, values = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(means, values, 1 - self.decay())
        copies, values = zip(*self._copied, strict=True)
        torch._foreach_copy_(copies, values)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The state of the average, as tensors and plain values."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state returned by `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
