"""Differences over other trainings: the seeds of a model are its sample."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from ..statistics import FEWEST_SEEDS
from .difference import LEVEL, Difference, Family, Pair, Tested, comparisons, holm
from .dunnett import Dunnett

MAX_RATIO = 3  # of the standard deviations of two models that may be pooled
# Of 6 models with equal standard deviations and 3 seeds each, the largest is over 3 times the smallest in 3 of 4
# sweeps. If that alone gave up pooling, a difference of 4 standard deviations would be found in 55 % of sweeps instead
# of 96 % (benchmarks/comparisons.py), so that Bartlett's test must find the variances unequal too.
BARTLETT_LEVEL = 0.01


def compare_seeds(models: Mapping[str, Sequence[float]], baseline: str | None) -> Family:
    """Compare test top-1 over seeds: with a baseline, or all pairs if it is None. A model needs at least three.

    Dunnett's test with a baseline, Tukey's for all pairs, Student's for two models: they pool the standard deviations
    of all models. Where the largest is over 3 times the smallest and Bartlett's test rejects at 1 % that they are
    equal, it is Welch's test of each pair, with Holm's p-values and Bonferroni's intervals, which may reach 0 where
    Holm's p-value is below 5 %. Scores are rounded to a painting, so a standard deviation of 0 tells nothing: with one
    all are pooled, and if all are 0 there is neither interval nor p-value.
    """
    samples = {label: np.asarray(scores, np.float64) for label, scores in models.items()}
    if few := [label for label, sample in samples.items() if len(sample) < FEWEST_SEEDS]:
        raise ValueError(f"{', '.join(few)} has fewer than {FEWEST_SEEDS} seeds")
    pairs = comparisons(list(models), baseline)
    if not pairs:
        return Family(())
    method, tested, note = _test(samples, pairs, baseline)
    return Family(
        tuple(
            Difference(
                first, second, "seeds", float(samples[first].mean() - samples[second].mean()), interval, p_value,
                method, (len(samples[first]), len(samples[second])),
            )
            for (first, second), (interval, p_value) in zip(pairs, tested, strict=True)
        ),
        note,
    )  # fmt: skip


def _test(
    samples: Mapping[str, np.ndarray], pairs: Sequence[Pair], baseline: str | None
) -> tuple[str, list[Tested], str]:
    """The name of the method, the interval and p-value of each pair, and why it is this method."""
    if all(np.ptp(sample) == 0 for sample in samples.values()):
        return "no test", [(None, None)] * len(pairs), "All seeds of each model score the same: no interval over seeds."
    unequal, note = _are_unequal(list(samples.values()))
    if unequal:
        return "Welch, Holm" if len(pairs) > 1 else "Welch", _by_pair(samples, pairs, equal=False), note
    if len(samples) == 2:
        return "Student's t", _by_pair(samples, pairs, equal=True), note
    if baseline is None:
        return "Tukey", _tukey(samples, pairs), note
    return "Dunnett", _dunnett(samples, pairs, baseline), note


def _are_unequal(samples: Sequence[np.ndarray]) -> tuple[bool, str]:
    """Whether the standard deviations are too different to be pooled, with a sentence if they look so."""
    if any(np.ptp(sample) == 0 for sample in samples):
        return False, ""
    deviations = [sample.std(ddof=1) for sample in samples]
    ratio = max(deviations) / min(deviations)
    if ratio <= MAX_RATIO:
        return False, ""
    chance = float(stats.bartlett(*samples).pvalue)
    found = f"The largest standard deviation over seeds is {ratio:.1f} times the smallest"
    if chance < BARTLETT_LEVEL:
        return True, f"{found}, more than chance gives (Bartlett p = {chance:.2g}): they are not pooled."
    return False, f"{found}, which so few seeds give by chance (Bartlett p = {chance:.2g}): they are pooled."


def _by_pair(samples: Mapping[str, np.ndarray], pairs: Sequence[Pair], equal: bool) -> list[Tested]:
    """Each pair by itself: Student's t or Welch's, corrected for the number of pairs."""
    results = [stats.ttest_ind(samples[first], samples[second], equal_var=equal) for first, second in pairs]
    intervals = [result.confidence_interval(1 - LEVEL / len(pairs)) for result in results]
    adjusted = holm([float(result.pvalue) for result in results])
    return [((float(one.low), float(one.high)), p) for one, p in zip(intervals, adjusted, strict=True)]


def _dunnett(samples: Mapping[str, np.ndarray], pairs: Sequence[Pair], baseline: str) -> list[Tested]:
    control = samples[baseline]
    freedom = sum(len(sample) - 1 for sample in samples.values())
    pooled = np.sqrt(sum(((sample - sample.mean()) ** 2).sum() for sample in samples.values()) / freedom)
    law = Dunnett(len(control), [len(samples[first]) for first, _ in pairs], freedom)
    quantile = law.quantile(LEVEL)
    found: list[Tested] = []
    for first, _ in pairs:
        sample = samples[first]
        mean, error = float(sample.mean() - control.mean()), float(pooled * np.sqrt(1 / len(sample) + 1 / len(control)))
        found.append(((mean - quantile * error, mean + quantile * error), law.p_value(abs(mean) / error)))
    return found


def _tukey(samples: Mapping[str, np.ndarray], pairs: Sequence[Pair]) -> list[Tested]:
    result = stats.tukey_hsd(*samples.values())
    found = result.confidence_interval(1 - LEVEL)
    at = {label: number for number, label in enumerate(samples)}
    cells = [(at[first], at[second]) for first, second in pairs]
    return [((float(found.low[cell]), float(found.high[cell])), float(result.pvalue[cell])) for cell in cells]
