"""The optimizer and the learning rate of each step."""

import math

import torch
from torch import nn

from ..sections import OptimConfig

REFERENCE_BATCH = 256  # samples for which `optim.lr` is stated


def make_optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """SGD with momentum. Norms and biases are spared weight decay unless `decay_norms`."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for parameter in model.parameters():
        (decayed if parameter.ndim > 1 or config.decay_norms else spared).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.SGD([group for group in groups if group["params"]], lr=config.lr, momentum=config.momentum)


def learning_rate(step: int, steps: int, steps_per_epoch: int, batch_size: int, config: OptimConfig) -> float:
    """The learning rate of step `step` (from 0) of `steps`, scaled to the global batch size.

    Linear scaling and warm-up: Goyal et al., "Accurate, Large Minibatch SGD", 2017. Cosine: Loshchilov and
    Hutter, "SGDR", ICLR 2017, one cycle over the steps after the warm-up.
    """
    peak = config.lr * batch_size / REFERENCE_BATCH
    warmup = config.warmup * steps
    if step < warmup:
        return peak * (step + 1) / (math.floor(warmup) + 1)
    if config.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
    if config.schedule == "step":
        return peak * 0.1 ** (step // steps_per_epoch // config.step_epochs)
    return peak
