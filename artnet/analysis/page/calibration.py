"""Calibration: how often models are right at each confidence, before and after temperature scaling."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .digits import percent, rounded
from .predicted import Tested

BINS = 15  # as in `Scores.ece`


def calibration(runs: Sequence[Tested]) -> dict[str, Any] | None:
    """The calibration of a model's runs on test; None without predictions.

    Bins hold the paintings of all runs: mean confidence, accuracy and how many. `ece` is the mean over runs of each
    one's expected calibration error, `temperature` the mean of theirs.
    """
    if not runs:
        return None
    right = [run.answers == run.labels for run in runs]
    before, after = [run.confidence for run in runs], [run.calibrated for run in runs]
    return {
        "temperature": rounded(float(np.mean([run.temperature for run in runs]))),
        "ece": percent(float(np.mean([ece(*pair) for pair in zip(before, right, strict=True)]))),
        "ece_after": percent(float(np.mean([ece(*pair) for pair in zip(after, right, strict=True)]))),
        "bins": _shown(np.concatenate(before), np.concatenate(right)),
        "after": _shown(np.concatenate(after), np.concatenate(right)),
    }


def bins(confidence: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Mean confidence, accuracy and count of each bin of confidence that has paintings, float64 (bins, 3)."""
    place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    sums = [np.bincount(place, of, BINS) for of in (confidence, right.astype(np.float64))]
    filled = counts > 0
    return np.stack([sums[0][filled] / counts[filled], sums[1][filled] / counts[filled], counts[filled]], axis=1)


def ece(confidence: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error over 15 equal bins (Guo et al., ICML 2017), a share."""
    found = bins(confidence, right)
    return float((np.abs(found[:, 0] - found[:, 1]) * found[:, 2]).sum() / len(right))


def _shown(confidence: np.ndarray, right: np.ndarray) -> list[list[Any]]:
    return [[percent(mean), percent(share), int(count)] for mean, share, count in bins(confidence, right)]
