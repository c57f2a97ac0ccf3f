"""The moving average of weights: the network that is evaluated and published."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


class WeightAverage:
    """An exponential moving average of a network's weights and buffers (Polyak and Juditsky, 1992).

    `half_life` is in steps: so many steps later a step's weights count half. Until that many have been made, the
    decay is (1 + t) / (10 + t) at update t, as in TensorFlow's ExponentialMovingAverage: a short run is averaged over
    about its last tenth. The first update copies.

    Buffers, the statistics of batch norms, are averaged too: copied ones would belong to the last step's weights, not
    to their average. torch's AveragedModel would do the same, but waits for the GPU at every update.
    """

    def __init__(self, model: nn.Module, half_life: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.updates = 0
        self._decay = 0.5 ** (1 / half_life)
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        # Tensors that both networks keep, whatever is loaded into them. A count of batches is no number to average.
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]

    def decay(self) -> float:
        """What the average so far counts at the next update."""
        t = self.updates
        return min(self._decay, (1 + t) / (10 + t)) if t else 0.0

    @torch.no_grad()
    def update(self) -> None:
        """Let the network's present weights in."""
        means, values = zip(*self._averaged, strict=True)
        torch._foreach_lerp_(means, values, 1 - self.decay())
        for mean, value in self._copied:
            mean.copy_(value)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """The average, of tensors and plain values."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
