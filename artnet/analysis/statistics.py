"""Means and confidence intervals. Pure functions on shares between 0 and 1."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

CONFIDENCE = 0.95
FEWEST_SEEDS = 3  # that give an interval: of two, Student's t covers most of what is possible


@dataclass(frozen=True)
class Estimate:
    """The mean over `n` seeds, their sample standard deviation, None for a single seed, and the 95 % interval.

    Two seeds are too few for an interval.
    """

    n: int
    mean: float
    std: float | None
    interval: tuple[float, float] | None


def estimate(shares: Sequence[float], images: int) -> Estimate:
    """Estimate the expected share from `shares`, one per seed.

    The interval is Student's t over three seeds or more, clipped to [0, 1]. A single seed gives no information about
    the variance over seeds, so its interval is Wilson's for a share measured on `images` images.
    """
    mean = statistics.fmean(shares)
    if len(shares) == 1:
        return Estimate(1, mean, None, wilson_interval(mean, images))
    std = statistics.stdev(shares)
    if len(shares) < FEWEST_SEEDS:
        return Estimate(len(shares), mean, std, None)
    half = t_quantile(len(shares) - 1) * std / math.sqrt(len(shares))
    return Estimate(len(shares), mean, std, (max(0.0, mean - half), min(1.0, mean + half)))


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a binomial share observed in `n` trials (Wilson, JASA 22, 1927)."""
    z2 = statistics.NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def t_quantile(freedom: int) -> float:
    """The t such that 95 % of Student's t distribution with `freedom` degrees of freedom lie between -t and t."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
