"""The order in which paintings are worth a look: by how they stand within their given class. Pure."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from .confidence import doubted, label_quality
from .evidence import Evidence
from .neighbours import Neighbours


@dataclass(frozen=True)
class Ranking:
    """The scores of n paintings, in the order of the evidence, and `order`, the positions to look at first.

    `quality` is confident learning's, `scores` (0 to 1, higher = more worth a look) what the order goes by, all float64
    (n,); `doubted` bool (n,) says what confident learning would take for an error. Without an embedding, `neighbours`
    is None and the scores are confident learning's alone.
    """

    evidence: Evidence
    quality: np.ndarray
    doubted: np.ndarray
    neighbours: Neighbours | None
    scores: np.ndarray
    order: np.ndarray


def rank(evidence: Evidence, found: Neighbours | None = None) -> Ranking:
    """Rank the paintings by the mean of their quantiles within their given class, by two scores.

    One is confident learning's label quality, the other the remoteness from the class in the embedding, where that is
    known. As a class is compared with itself alone, one that the network knows badly does not fill the list.
    """
    quality = label_quality(evidence.labels, evidence.probabilities)
    quantiles = [within(evidence.labels, -quality)]
    if found:
        quantiles.append(within(evidence.labels, found.remoteness))
    scores = np.nanmean(quantiles, axis=0)
    order = np.lexsort((evidence.keys, quality, -scores))
    return Ranking(evidence, quality, doubted(evidence.labels, evidence.probabilities), found, scores, order)


def within(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The quantile of each value in its class, (rank - 0.5) / n with mean ranks of ties, float64 (n,); NaN stays NaN.

    A class of one is at 0.5: nothing can be said of it.
    """
    quantiles = np.full(len(values), np.nan)
    for label in np.unique(labels):
        rows = np.flatnonzero((labels == label) & ~np.isnan(values))
        if len(rows):
            quantiles[rows] = (rankdata(values[rows]) - 0.5) / len(rows)
    return quantiles
