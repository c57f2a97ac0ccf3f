"""Torch's random generators, in which what is drawn inside the network (stochastic depth) has its source."""

import numpy as np
import torch

from ..distributed import Ranks


def seed_step(seed: int, step: int, ranks: Ranks) -> None:
    """Start torch's generators anew from (seed, step, rank): a step depends on none before it, nor on a resume."""
    number = int(np.random.default_rng([seed, step, 3, ranks.rank]).integers(2**63))
    # Not torch.manual_seed: without a GPU it notes a stack trace each time, for GPUs that are not there.
    torch.default_generator.manual_seed(number)
    if ranks.on_gpu:
        torch.cuda.manual_seed(number)
