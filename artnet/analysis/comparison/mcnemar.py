"""The exact test of two runs on the same paintings."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binom


def mcnemar(differences: np.ndarray) -> float:
    """The p-value of McNemar's exact test that two runs are equally often right.

    `differences` int64 (units,): in each group of near-duplicates, how many more paintings the first run has right. The
    paintings of a group are no independent trials, so that runs are exchanged in whole groups: the p-value is that of
    all ways to exchange them. If groups are single paintings, it is McNemar's.
    """
    steps = _steps(differences)
    total = int(differences.sum())
    return min(1.0, 2 * min(_tail(steps, 0.5, total), _tail(steps, 0.5, -total)))


def mcnemar_interval(differences: np.ndarray, paintings: int, level: float) -> tuple[float, float]:
    """The interval of the difference of two runs that agrees with the test at a `level`, such as 0.05.

    Of units in which the runs differ, the first run is better in a share. That share's exact interval (Clopper and
    Pearson, Biometrika 26, 1934, if groups are single paintings) is multiplied by how far the runs differ. How many
    units differ is taken as given, so it is too short where one run is better in nearly all of them.
    """
    steps, total = _steps(differences), int(differences.sum())
    reach = int(np.abs(differences).sum())
    low = 0.0 if total == -reach else brentq(lambda share: _tail(steps, share, total) - level / 2, 0, 1)
    high = 1.0 if total == reach else brentq(lambda share: _tail(steps, 1 - share, -total) - level / 2, 0, 1)
    return (2 * low - 1) * reach / paintings, (2 * high - 1) * reach / paintings


def _steps(differences: np.ndarray) -> list[tuple[int, int]]:
    """The sizes of differences, and the number of units with each; without those in which the runs are equal."""
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    return [(int(size), int(count)) for size, count in zip(sizes, counts, strict=True)]


def _tail(steps: Sequence[tuple[int, int]], share: float, total: int) -> float:
    """The probability that the sum of differences is `total` or more, if each is positive with probability `share`."""
    law = np.ones(1)  # of the sum of the positive ones, from 0
    for size, count in steps:
        one = np.zeros(size * count + 1)
        one[::size] = binom.pmf(np.arange(count + 1), count, share)
        law = np.convolve(law, one)
    reach = len(law) - 1
    return float(law[(total + reach) // 2 :].sum())  # a sum s is that of the positive ones, twice, minus the reach
