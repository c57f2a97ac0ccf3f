"""Which samples an epoch shows in which order, and which rank takes which. Pure."""

from collections.abc import Sequence

import numpy as np


def shuffled(samples: int, seed: int, epoch: int) -> np.ndarray:
    """Every sample once, in an order that depends on (seed, epoch) alone; int64 (samples,)."""
    return np.random.default_rng([seed, epoch]).permutation(samples)


def class_balanced(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """As many samples as there are labels, int64 (n,), of which every class has the same number, give or take one.

    `labels` is int64 (n,), all of them known. The samples of a rare class come several times, each as often as its
    others give or take once; of a common class an epoch shows some, drawn anew every time.
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

    `batch_size` counts all ranks together and is divisible by `world_size`; each rank takes its contiguous part of
    every global batch, so all ranks take the same number of equal steps. The ragged tail is left out.
    """
    local = batch_size // world_size
    starts = range(rank * local, samples // batch_size * batch_size, batch_size)
    return [np.arange(start, start + local) for start in starts]


def eval_batches(samples: int, batch_size: int, rank: int, world_size: int) -> Sequence[np.ndarray]:
    """One rank's share of all positions, each exactly once over all ranks; ranks may differ by one sample."""
    own = np.arange(rank, samples, world_size)
    return [own[start : start + batch_size] for start in range(0, len(own), batch_size)]
