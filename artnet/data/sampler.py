"""The order of samples in an epoch, and their distribution over ranks. Pure functions."""

from collections.abc import Sequence

import numpy as np


def shuffled(samples: int, seed: int, epoch: int) -> np.ndarray:
    """Every sample once, in an order that depends only on (seed, epoch); int64 (samples,)."""
    return np.random.default_rng([seed, epoch]).permutation(samples)


def class_balanced(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """As many samples as there are labels, int64 (n,), with equally many of every class, up to a difference of one.

    `labels` is int64 (n,), without unlabelled samples. Samples of a rare class are repeated, equally often up to a
    difference of one; of a common class each epoch draws another subset.
    """
    rng = np.random.default_rng([seed, epoch])
    classes = rng.permutation(np.unique(labels))
    shares = np.diff(np.linspace(0, len(labels), len(classes) + 1).astype(np.int64))
    chosen = []
    for label, share in zip(classes, shares, strict=True):
        members = np.flatnonzero(labels == label)
        rounds = -(-share // len(members))
        chosen.append(np.concatenate([rng.permutation(members) for _ in range(rounds)])[:share])
    return rng.permutation(np.concatenate(chosen))


def train_batches(samples: int, batch_size: int, rank: int, world_size: int) -> Sequence[np.ndarray]:
    """One rank's share of an epoch's batches, as positions in the epoch's order.

    `batch_size` is the global batch size, divisible by `world_size`. Each rank gets its contiguous part of every
    global batch, so all ranks take the same number of equal steps. An incomplete last batch is left out.
    """
    local = batch_size // world_size
    starts = range(rank * local, samples // batch_size * batch_size, batch_size)
    return [np.arange(start, start + local) for start in starts]


def eval_batches(samples: int, batch_size: int, rank: int, world_size: int) -> Sequence[np.ndarray]:
    """One rank's share of all positions, in batches: each position on one rank; ranks may differ by one sample."""
    own = np.arange(rank, samples, world_size)
    return [own[start : start + batch_size] for start in range(0, len(own), batch_size)]
