"""Simultaneous intervals and p-values from the draws of a bootstrap."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from .difference import LEVEL, Tested

DRAWS = 10_000


def simultaneous(observed: np.ndarray, draws: np.ndarray, freedom: np.ndarray) -> list[Tested]:
    """Intervals and p-values of k differences that hold together, as Dunnett's and Tukey's do.

    `observed` float64 (k,): the differences; `draws` float64 (draws, k): the same, drawn again; `freedom` float64 (k,):
    the degrees of freedom of their standard errors, infinite for large samples. Each difference is divided by its
    standard error, and the largest of each draw says how far k of them stray together (single-step max-T; Westfall and
    Young, "Resampling-Based Multiple Testing", 1993), on the scale of the normal distribution: with few degrees of
    freedom that is brought to Student's t. A p-value is at least 1 / (draws + 1). A difference that is the same in all
    draws has no interval, and a p-value of 1 if it is 0.
    """
    errors = draws.std(0, ddof=1)
    varies = errors > 1e-12  # a constant has rounding errors
    if not varies.any():
        return [(None, 1.0 if difference == 0 else None) for difference in observed]
    safe = np.where(varies, errors, 1)
    largest = (np.abs(draws - draws.mean(0)) / safe)[:, varies].max(1)
    scores = stats.norm.isf(stats.t.sf(np.abs(observed) / safe, freedom))
    p_values = (1 + (largest[:, None] >= scores).sum(0)) / (len(draws) + 1)
    halves = errors * stats.t.isf(stats.norm.sf(np.quantile(largest, 1 - LEVEL)), freedom)
    return [
        ((float(difference - half), float(difference + half)), float(p_value))
        if known
        else (None, 1.0 if difference == 0 else None)
        for known, difference, half, p_value in zip(varies, observed, halves, p_values, strict=True)
    ]


def contrasts(labels: Sequence[str], pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """The matrix (models, k) by which means of models become differences of pairs."""
    matrix = np.zeros((len(labels), len(pairs)))
    for column, (first, second) in enumerate(pairs):
        matrix[labels.index(first), column] += 1
        matrix[labels.index(second), column] -= 1
    return matrix
