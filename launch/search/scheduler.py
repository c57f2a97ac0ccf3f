"""When a run is stopped early. Pure: a function of the curves of the runs, whichever process asks, and when.

Successive halving as in ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020): at each
rung, one of `reduction` runs goes on. Hyperband spreads the runs over brackets that begin to judge later and later
(Li et al., "Hyperband", JMLR 2018). The median rule stops a run whose best is below the median of the others' running
means (Golovin et al., "Google Vizier", KDD 2017).
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Curve = Sequence[float]  # the metric after each epoch, from the first; NaN where it is not known or not finite


@dataclass(frozen=True)
class Scheduler:
    """Judges the runs of a search. `grace` and `epochs` are in epochs."""

    kind: str  # asha | hyperband | median | none
    grace: int
    reduction: int
    epochs: int  # of the longest run
    maximize: bool
    best: bool = True  # whether the metric of a run is its best epoch, not the last

    def stops(self, number: int, curve: Curve, others: Mapping[int, Curve]) -> bool:
        """Whether the run of this `number` is stopped after the last epoch of its `curve`, given the `others`.

        The others are by their numbers, of which hyperband makes brackets. Values that are not finite count for
        nothing among the others, so that a run that failed changes no verdict; a run of which nothing finite is known
        is worse than all.
        """
        epoch = len(curve)
        if self.kind == "none" or epoch < self.grace:
            return False
        if self.kind == "median":
            return self._is_below_median(curve, others.values())
        bracket = self.bracket(number)
        if epoch not in self.rungs(bracket):
            return False
        rivals = (other for key, other in others.items() if self.bracket(key) == bracket)
        return self._is_cut(curve, rivals)

    @property
    def brackets(self) -> int:
        """How many brackets there are: one for each rung with hyperband, else 1."""
        return max(1, len(rungs(self.grace, self.reduction, self.epochs))) if self.kind == "hyperband" else 1

    def bracket(self, number: int) -> int:
        """The bracket of a run, from 0: the later ones are judged for the first time at a later rung."""
        return number % self.brackets

    def rungs(self, bracket: int = 0) -> Sequence[int]:
        """The epochs after which the runs of a bracket are judged."""
        return rungs(self.grace * self.reduction**bracket, self.reduction, self.epochs)

    def score(self, curve: Curve) -> float:
        """The metric of a run so far; NaN if there is none."""
        known = [value for value in curve if math.isfinite(value)] if self.best else [*curve[-1:]]
        if not known or not math.isfinite(known[-1]):
            return math.nan
        return max(known) if self.maximize else min(known)

    def is_better(self, one: float, other: float) -> bool:
        """Whether a score is better than another; NaN is worse than all."""
        if math.isnan(one) or math.isnan(other):
            return math.isnan(other) and not math.isnan(one)
        return one > other if self.maximize else one < other

    def _is_cut(self, curve: Curve, others: Iterable[Curve]) -> bool:
        epoch, own = len(curve), self.score(curve)
        scores = [self.score(other[:epoch]) for other in others if len(other) >= epoch]
        rivals = [score for score in scores if not math.isnan(score)]
        entries = len(rivals) + (not math.isnan(own))
        if entries < self.reduction:
            return False
        return sum(self.is_better(score, own) for score in rivals) >= max(1, entries // self.reduction)

    def _is_below_median(self, curve: Curve, others: Iterable[Curve]) -> bool:
        epoch, means = len(curve), []
        for other in others:
            known = [value for value in other[:epoch] if math.isfinite(value)]
            if len(other) >= epoch and known:
                means.append(statistics.fmean(known))
        if len(means) < self.reduction:
            return False
        return self.is_better(statistics.median(means), self.score(curve))


def rungs(grace: int, reduction: int, epochs: int) -> Sequence[int]:
    """The epochs after which a run of so many `epochs` is judged: `grace`, and times `reduction` again and again."""
    found = []
    while grace < epochs:
        found.append(grace)
        grace *= reduction
    return found
