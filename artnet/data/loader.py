"""The order of samples, and batches of them decoded by threads."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from .dataset import SplitData

PREFETCH = 4  # batches being decoded or waiting, beyond one a thread


@dataclass(frozen=True)
class Batch:
    """`images` uint8 (n, size, size, 3); `labels` int64 (n, tasks), -1 = unlabelled."""

    images: torch.Tensor
    labels: torch.Tensor


def train_batches(samples: int, batch_size: int, rank: int, world_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """One rank's share of an epoch's batches, as sample numbers.

    The order of all samples is a fresh permutation that depends on (seed, epoch) alone. `batch_size` counts all
    ranks together and is divisible by `world_size`; each rank takes its contiguous part of every global batch, so
    all ranks take the same number of equal steps. The ragged tail of the permutation is left out.
    """
    order = np.random.default_rng([seed, epoch]).permutation(samples)
    local = batch_size // world_size
    starts = range(rank * local, samples // batch_size * batch_size, batch_size)
    return [order[start : start + local] for start in starts]


def eval_batches(samples: int, batch_size: int, rank: int, world_size: int) -> list[np.ndarray]:
    """One rank's share of all samples, each exactly once over all ranks; ranks may differ by one sample."""
    own = np.arange(rank, samples, world_size)
    return [own[start : start + batch_size] for start in range(0, len(own), batch_size)]


def load(data: SplitData, batches: Sequence[np.ndarray], epoch: int, threads: int) -> Iterator[Batch]:
    """Decode `batches` of sample numbers in order, a few ahead of the reader, one batch a thread.

    The decoder releases the interpreter's lock, so threads decode in parallel. An image that cannot be decoded
    counts as unlabelled: it is black and takes no part in loss or scores.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        waiting: deque[Future[Batch]] = deque()
        remaining = iter(batches)
        try:
            while True:
                while len(waiting) < threads + PREFETCH and (samples := next(remaining, None)) is not None:
                    waiting.append(pool.submit(_decode, data, samples, epoch))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _decode(data: SplitData, samples: np.ndarray, epoch: int) -> Batch:
    images = np.zeros((len(samples), data.size, data.size, 3), np.uint8)
    labels = data.labels[samples]  # a copy: indexing with an array
    for position, sample in enumerate(samples):
        image = data.image(int(sample), epoch)
        if image is None:
            labels[position] = -1
        else:
            images[position] = image
    return Batch(torch.from_numpy(images), torch.from_numpy(labels))
