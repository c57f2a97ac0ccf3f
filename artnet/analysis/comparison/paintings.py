"""Differences over other test paintings, and over these and other trainings together."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from .bootstrap import DRAWS, contrasts, simultaneous
from .difference import LEVEL, Difference, Error, Family, Pair, Tested, comparisons, holm
from .mcnemar import mcnemar, mcnemar_interval
from .units import Units

FEWEST_CROSSED = 5  # seeds of a model that can be drawn again


@dataclass(frozen=True)
class Paintings:
    """The test paintings of a task, and which of them each run has right.

    `groups` int64 (n,): numbers of groups of near-duplicates; `labels` int64 (n,): class indices; `correct` bool
    (seeds, n) for each model.
    """

    groups: np.ndarray
    labels: np.ndarray
    correct: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Resampled:
    """The paintings, and the top-1 of each run on paintings drawn again, float64 (draws, seeds) for each model."""

    paintings: Paintings
    units: Units
    top1: Mapping[str, np.ndarray]

    @classmethod
    def draw(cls, paintings: Paintings, draws: int = DRAWS) -> Self:
        """Draw groups of near-duplicates within each class, always the same ones."""
        units = Units.build(paintings.groups, paintings.labels)
        columns = np.concatenate(list(paintings.correct.values()))
        found = units.resampled(columns, draws, np.random.default_rng(0))
        ends = np.cumsum([len(runs) for runs in paintings.correct.values()])[:-1]
        return cls(paintings, units, dict(zip(paintings.correct, np.split(found, ends, axis=1), strict=True)))


def compare_paintings(resampled: Resampled, baseline: str | None) -> Family:
    """Compare models as they were trained on other test paintings: with a baseline, or all pairs if it is None.

    A paired bootstrap of each painting's mean correctness over the model's runs. Of models with one run each, the
    p-values are those of McNemar's exact test with Holm's correction, and an interval is the wider one, at each end, of
    the bootstrap's and of the one that agrees with the test, at Bonferroni's level.
    """
    correct = resampled.paintings.correct
    pairs = comparisons(list(correct), baseline)
    means = {label: top1.mean(1) for label, top1 in resampled.top1.items()}
    tested = _simultaneous(resampled, pairs, means, np.full(len(pairs), np.inf))
    if any(len(runs) > 1 for runs in correct.values()):
        return _family(resampled, pairs, "paintings", "paired bootstrap", tested)
    tested = _exact(resampled, pairs, tested)
    return _family(resampled, pairs, "paintings", "McNemar, Holm" if len(pairs) > 1 else "McNemar", tested)


def compare_both(resampled: Resampled, baseline: str | None) -> Family:
    """Compare models with at least five runs each over other trainings and other paintings.

    Seeds and paintings are drawn independently of one another (the pigeonhole bootstrap: Owen, Annals of Applied
    Statistics 1, 2007; a little too wide). Deviations of drawn seeds are enlarged by sqrt(n / (n - 1)), without which
    n seeds vary too little, and as few seeds know their own spread badly, the intervals are those of Student's t, with
    degrees of freedom by Welch and Satterthwaite.
    """
    correct = resampled.paintings.correct
    if few := [label for label, runs in correct.items() if len(runs) < FEWEST_CROSSED]:
        raise ValueError(f"{', '.join(few)} has fewer than {FEWEST_CROSSED} runs")
    pairs = comparisons(list(correct), baseline)
    rng = np.random.default_rng(1)
    means, variances = {}, {}
    for label, top1 in resampled.top1.items():
        draws, seeds = top1.shape
        weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
        centre = top1.mean(1)
        means[label] = centre + np.sqrt(seeds / (seeds - 1)) * ((weights * top1).sum(1) - centre)
        variances[label] = correct[label].mean(1).var(ddof=1) / seeds  # of the mean over seeds
    freedom = []
    for pair in pairs:
        parts = sum(variances[label] ** 2 / (len(correct[label]) - 1) for label in pair)
        total = float((means[pair[0]] - means[pair[1]]).var(ddof=1))
        freedom.append(total**2 / parts if parts else np.inf)
    tested = _simultaneous(resampled, pairs, means, np.asarray(freedom))
    return _family(resampled, pairs, "both", "crossed bootstrap", tested)


def _simultaneous(
    resampled: Resampled, pairs: list[Pair], means: Mapping[str, np.ndarray], freedom: np.ndarray
) -> list[Tested]:
    if not pairs:
        return []
    correct = resampled.paintings.correct
    matrix = contrasts(list(correct), pairs)
    observed = np.asarray([runs.mean() for runs in correct.values()]) @ matrix
    return simultaneous(observed, np.stack(list(means.values()), axis=1) @ matrix, freedom)


def _exact(resampled: Resampled, pairs: list[Pair], tested: list[Tested]) -> list[Tested]:
    """McNemar's test of each pair, and the intervals of `tested` made wide enough to agree with it."""
    correct = {label: runs[0].astype(np.int64) for label, runs in resampled.paintings.correct.items()}
    units = resampled.units
    differences = [
        units.sums((correct[first] - correct[second])[None])[:, 0].astype(np.int64) for first, second in pairs
    ]
    p_values = holm([mcnemar(of) for of in differences])
    found: list[Tested] = []
    for of, (interval, _), p_value in zip(differences, tested, p_values, strict=True):
        low, high = mcnemar_interval(of, len(units.of), LEVEL / len(pairs))
        found.append(((min(low, interval[0]), max(high, interval[1])) if interval else None, p_value))
    return found


def _family(resampled: Resampled, pairs: list[Pair], error: Error, method: str, tested: list[Tested]) -> Family:
    correct = resampled.paintings.correct
    return Family(
        tuple(
            Difference(
                first, second, error, float(correct[first].mean() - correct[second].mean()), interval, p_value,
                method, (len(correct[first]), len(correct[second])), len(resampled.units.of),
            )
            for (first, second), (interval, p_value) in zip(pairs, tested, strict=True)
        )
    )  # fmt: skip
