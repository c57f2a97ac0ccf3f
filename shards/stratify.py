"""Stratified sampling: how many of each class to draw, and which rows meet these quotas for all tasks at once. Pure."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Key = TypeVar("Key", int, tuple[str, int])


def largest_remainder(quotas: dict[Key, float]) -> dict[Key, int]:
    """Round quotas to integers that keep the rounded sum (Hamilton's method).

    The quotas with the largest fractions are rounded up, the others down. Ties go to the smaller key.
    """
    floors = {key: int(quota) for key, quota in quotas.items()}
    missing = round(sum(quotas.values())) - sum(floors.values())
    by_fraction = sorted(quotas, key=lambda key: (floors[key] - quotas[key], key))
    return {**floors, **{key: floors[key] + 1 for key in by_fraction[:missing]}}


def class_quotas(counts: np.ndarray, size: int) -> np.ndarray:
    """Return how many of each class to draw for a sample of `size`, int64 (classes,).

    Quotas are proportional to `counts`, int (classes,), rounded by `largest_remainder`. A class of three or more gets
    at least one, taken from the largest quota as long as that is two or more.
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
    """Choose `size` rows that come as close as possible to the class quotas of every task at once.

    `labels` is int (n, tasks). `quotas` holds one array per task: how many of each class are wanted. The choice is
    greedy: each step takes the row that lowers the sum of (wanted - got)^2 / wanted the most, and the first of equals.

    Returns row numbers, int64 (size,), in ascending order.
    """
    lacking = [quota.astype(float) for quota in quotas]
    weights = [1 / np.maximum(quota, 1) for quota in quotas]
    free = np.ones(len(labels), bool)
    for _ in range(min(size, len(labels))):
        gain = sum(
            ((2 * lack - 1) * weight)[labels[:, task]]
            for task, (lack, weight) in enumerate(zip(lacking, weights, strict=True))
        )
        row = int(np.where(free, gain, -np.inf).argmax())
        free[row] = False
        for task, lack in enumerate(lacking):
            lack[labels[row, task]] -= 1
    return np.flatnonzero(~free)


def shuffle_key(seed: int, path: str) -> bytes:
    """Return a sort key that shuffles paintings in the same way on every machine, whatever their order was."""
    return hashlib.sha256(f"{seed}:{path}".encode()).digest()
