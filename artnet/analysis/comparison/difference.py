"""What a comparison of two models says, and the family of comparisons that it is one of."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

Error = Literal["seeds", "paintings", "both"]
Pair = tuple[str, str]  # the labels of the models whose difference is taken, first - second
Tested = tuple[tuple[float, float] | None, float | None]  # the interval and p-value of a pair
LEVEL = 0.05  # the chance that an interval of a family misses the true difference


@dataclass(frozen=True)
class Difference:
    """The test top-1 of model `first` minus that of `second`, as shares between -1 and 1.

    `error` is what the 95 % interval and the p-value are over: other trainings, other test paintings, or both. Both are
    corrected for the family. They are None where the data cannot give one, such as seeds that all score the same.
    `seeds` are the runs of the two models; `paintings` is None where only the scores of the runs were used.
    """

    first: str
    second: str
    error: Error
    mean: float
    interval: tuple[float, float] | None
    p_value: float | None
    method: str
    seeds: tuple[int, int]
    paintings: int | None = None


@dataclass(frozen=True)
class Family:
    """Comparisons that are corrected together; `note` is a sentence on the choice of the method, or empty."""

    differences: tuple[Difference, ...]
    note: str = ""


def comparisons(labels: Sequence[str], baseline: str | None) -> list[Pair]:
    """Every other model against the baseline; all pairs where it is None."""
    if baseline is None:
        return [(second, first) for first, second in combinations(labels, 2)]
    return [(label, baseline) for label in labels if label != baseline]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p-values of a family (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    return [float(p) for p in adjusted]
