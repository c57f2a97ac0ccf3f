"""Samples that look like what they are drawn from: quotas of classes, and how to meet them. Pure."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Key = TypeVar("Key", int, tuple[str, int])


def largest_remainder(quotas: dict[Key, float]) -> dict[Key, int]:
    """Round quotas to whole numbers with the same rounded sum: largest fractions up, ties by key (Hamilton)."""
    floors = {key: int(quota) for key, quota in quotas.items()}
    missing = round(sum(quotas.values())) - sum(floors.values())
    by_fraction = sorted(quotas, key=lambda key: (floors[key] - quotas[key], key))
    return {**floors, **{key: floors[key] + 1 for key in by_fraction[:missing]}}


def class_quotas(counts: np.ndarray, size: int) -> np.ndarray:
    """How many of each class make a sample of `size`: in proportion to `counts`, by largest remainder.

    A class of three or more gets at least one place, at the cost of the largest quota, while one has two or more.
    """
    exact = {c: size * int(count) / int(counts.sum()) for c, count in enumerate(counts)}
    quotas = np.array(list(largest_remainder(exact).values()))
    for c in np.flatnonzero((counts >= 3) & (quotas == 0)):
        if quotas.max() < 2:
            break
        quotas[quotas.argmax()] -= 1
        quotas[c] = 1
    return quotas


def balanced_sample(labels: np.ndarray, quotas: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Choose `size` rows so that every head comes as close to its quotas as it can, all heads at once.

    `labels` is int (n, heads), `quotas` has the wanted count of each class for each head. Greedy: each step takes the
    row that lowers the sum of (wanted - got)^2 / wanted the most, the first of equals. Returns row numbers, sorted.
    """
    lacking = [quota.astype(float) for quota in quotas]
    weights = [1 / np.maximum(quota, 1) for quota in quotas]
    free = np.ones(len(labels), bool)
    for _ in range(min(size, len(labels))):
        gain = sum(
            ((2 * lack - 1) * weight)[labels[:, head]]
            for head, (lack, weight) in enumerate(zip(lacking, weights, strict=True))
        )
        row = int(np.where(free, gain, -np.inf).argmax())
        free[row] = False
        for head, lack in enumerate(lacking):
            lack[labels[row, head]] -= 1
    return np.flatnonzero(~free)


def draw(seed: int, path: str) -> bytes:
    """The lot of a painting: ordered by it, paintings are shuffled the same way on every machine."""
    return hashlib.sha256(f"{seed}:{path}".encode()).digest()
