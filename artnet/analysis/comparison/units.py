"""What a bootstrap over paintings draws: groups of near-duplicates, within each class."""

from dataclasses import dataclass
from typing import Self

import numpy as np

_CELLS = 4_000_000  # of counts in memory at a time


@dataclass(frozen=True)
class Units:
    """The groups of near-duplicates of n paintings, sorted by class.

    `of` int64 (n,): the number of each painting's unit; `sizes` float64 (units,): paintings in each; `starts` and
    `counts` int64 (units,): the first unit of each unit's class, and how many units the class has.
    """

    of: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    @classmethod
    def build(cls, groups: np.ndarray, labels: np.ndarray) -> Self:
        """Sort the groups of paintings by class. `groups` and `labels` are int64 (n,).

        A group with several labels is of the class of most of its paintings; in a tie, of that with the lower index.
        """
        pairs, amounts = np.unique(np.stack([groups, labels]), axis=1, return_counts=True)
        order = np.lexsort((pairs[1], -amounts, pairs[0]))
        names, first = np.unique(pairs[0][order], return_index=True)
        classes = pairs[1][order][first]
        ranked = np.argsort(classes, kind="stable")
        place = np.empty_like(ranked)
        place[ranked] = np.arange(len(ranked))
        of = place[np.searchsorted(names, groups)]
        _, starts, which, counts = np.unique(
            classes[ranked], return_index=True, return_inverse=True, return_counts=True
        )
        return cls(of, np.bincount(of).astype(np.float64), starts[which], counts[which])

    def sums(self, values: np.ndarray) -> np.ndarray:
        """The sums over each unit's paintings of values (columns, n): float64 (units, columns)."""
        return np.stack([np.bincount(self.of, row, len(self.sizes)) for row in values], axis=1)

    def resampled(self, values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
        """The means of values (columns, n) over paintings drawn again: float64 (draws, columns).

        Each draw has as many units of each class as there are, G. Columns share their draws. How often a unit is drawn
        deviates from 1 by too little, as if the class were known: the deviation is enlarged by sqrt(G / (G - 1)), which
        makes the variance of a mean the usual one of a stratified sample (Rao and Wu, JASA 83, 1988).
        """
        sums = np.concatenate([self.sums(values), self.sizes[:, None]], axis=1)
        scales = np.sqrt(self.counts / np.maximum(1, self.counts - 1))[:, None]
        fixed, sums = ((1 - scales) * sums).sum(0), scales * sums
        found = np.empty((draws, sums.shape[1]))
        step = max(1, _CELLS // len(self.sizes))
        for start in range(0, draws, step):
            rows = min(step, draws - start)
            drawn = (rng.random((rows, len(self.sizes))) * self.counts).astype(np.int64) + self.starts
            drawn += np.arange(rows)[:, None] * len(self.sizes)
            counted = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
            found[start : start + rows] = counted @ sums + fixed
        return found[:, :-1] / found[:, -1:]
