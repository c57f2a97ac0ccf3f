"""Differences over seeds equal those of statsmodels and of textbook formulas, and family errors are kept."""

import math
import time

import numpy as np
import pytest
from scipy import integrate, stats
from statsmodels.stats.multicomp import pairwise_tukeyhsd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from artnet.analysis.comparison.difference import holm
from artnet.analysis.comparison.seeds import compare_seeds
from benchmarks import comparisons

MODELS = {"a": [0.60, 0.62, 0.61], "b": [0.63, 0.66, 0.64, 0.65], "c": [0.62, 0.61, 0.60], "d": [0.58, 0.62, 0.61]}
UNEQUAL = {"a": [0.600, 0.601, 0.602], "b": [0.40, 0.60, 0.81], "c": [0.63, 0.64, 0.65]}


def dunnett(t: float, k: int, freedom: int) -> float:
    """The p-value of the largest |t| of k comparisons with a baseline of as many seeds (Dunnett, JASA 50, 1955)."""

    z, s = np.linspace(-8, 8, 401)[:, None], np.linspace(0, 4, 401)
    law = stats.norm.cdf(z + t * s * math.sqrt(2)) - stats.norm.cdf(z - t * s * math.sqrt(2))
    density = stats.norm.pdf(z) * stats.chi.pdf(s * math.sqrt(freedom), freedom) * math.sqrt(freedom)
    return 1 - integrate.trapezoid(integrate.trapezoid(law**k * density, s), z[:, 0])


def test_dunnett_equals_its_integral() -> None:
    models = {label: scores[:3] for label, scores in MODELS.items()}
    found = compare_seeds(models, "a").differences
    assert [(one.first, one.second) for one in found] == [("b", "a"), ("c", "a"), ("d", "a")]
    pooled = math.sqrt(np.mean([np.var(scores, ddof=1) for scores in models.values()]))
    for one in found:
        mean = np.mean(models[one.first]) - np.mean(models["a"])
        assert (one.mean, one.method, one.seeds) == (pytest.approx(mean), "Dunnett", (3, 3))
        assert one.p_value == pytest.approx(dunnett(abs(mean) / pooled / math.sqrt(2 / 3), 3, 8), abs=1e-3)
        half = one.interval[1] - one.mean
        assert dunnett(half / pooled / math.sqrt(2 / 3), 3, 8) == pytest.approx(0.05, abs=1e-3)
        assert one.mean - one.interval[0] == pytest.approx(half)
    assert compare_seeds(models, "a") == compare_seeds(models, "a")


def test_dunnett_equals_scipys_with_unequal_seeds_and_is_quick_for_many_models() -> None:
    found = compare_seeds(MODELS, "b").differences
    others = [MODELS[one.first] for one in found]
    oracle = stats.dunnett(*others, control=MODELS["b"], rng=np.random.default_rng(0))
    ends = oracle.confidence_interval()
    for one, low, high, p_value in zip(found, ends.low, ends.high, oracle.pvalue, strict=True):
        assert one.interval == pytest.approx((low, high), abs=2e-4)
        assert one.p_value == pytest.approx(p_value, abs=1e-3)
    many = {str(number): np.random.default_rng(number).normal(size=3) for number in range(60)}
    started = time.process_time()
    assert len(compare_seeds(many, "0").differences) == 59
    assert time.process_time() - started < 5  # scipy's takes minutes


def test_tukey_equals_statsmodels_with_unequal_seeds() -> None:
    found = compare_seeds(MODELS, None)
    labels = [label for label, scores in MODELS.items() for _ in scores]
    oracle = pairwise_tukeyhsd(np.concatenate(list(MODELS.values())), labels)
    assert [(one.second, one.first) for one in found.differences] == [
        (oracle.groupsunique[i], oracle.groupsunique[j]) for i, j in zip(*np.triu_indices(4, 1), strict=True)
    ]
    for one, mean, interval, p_value in zip(
        found.differences, oracle.meandiffs, oracle.confint, oracle.pvalues, strict=True
    ):
        assert (one.mean, one.method) == (pytest.approx(mean), "Tukey")
        assert one.interval == pytest.approx(tuple(interval), abs=1e-5)
        assert one.p_value == pytest.approx(p_value, abs=1e-5)


def test_unequal_deviations_are_not_pooled_and_it_is_said() -> None:
    found = compare_seeds(UNEQUAL, "c")
    assert "205.0 times" in found.note and "not pooled" in found.note
    oracles = [CompareMeans(DescrStatsW(UNEQUAL[label]), DescrStatsW(UNEQUAL["c"])) for label in "ab"]
    adjusted = multipletests([oracle.ttest_ind(usevar="unequal")[1] for oracle in oracles], method="holm")[1]
    for one, oracle, p_value in zip(found.differences, oracles, adjusted, strict=True):
        assert (one.method, one.p_value) == ("Welch, Holm", pytest.approx(p_value))
        assert one.interval == pytest.approx(oracle.tconfint_diff(alpha=0.05 / 2, usevar="unequal"))


def test_deviations_that_differ_by_chance_are_pooled_and_it_is_said() -> None:
    found = compare_seeds({"a": [0.60, 0.61, 0.62], "b": [0.63, 0.632, 0.634], "c": [0.5, 0.51, 0.53]}, "a")
    assert found.differences[0].method == "Dunnett"
    assert "7.6 times" in found.note and "by chance" in found.note


def test_two_models_are_compared_by_students_t() -> None:
    (one,) = compare_seeds({"a": MODELS["a"], "b": MODELS["b"]}, "a").differences
    oracle = CompareMeans(DescrStatsW(MODELS["b"]), DescrStatsW(MODELS["a"]))
    assert (one.method, one.p_value) == ("Student's t", pytest.approx(oracle.ttest_ind()[1]))
    assert one.interval == pytest.approx(oracle.tconfint_diff())


def test_seeds_that_score_the_same_give_no_interval() -> None:
    (one,) = compare_seeds({"a": [0.6] * 3, "b": [0.7] * 3}, "a").differences
    assert (one.mean, one.interval, one.p_value) == (pytest.approx(0.1), None, None)
    found = compare_seeds({"a": [0.6] * 3, "b": [0.7] * 3, "c": [0.61, 0.6, 0.65]}, None)
    assert all(one.method == "Tukey" and math.isfinite(one.p_value) for one in found.differences)
    with pytest.raises(ValueError, match="b has fewer"):
        compare_seeds({"a": [0.6] * 3, "b": [0.7] * 2}, "a")


def test_holm_equals_statsmodels() -> None:
    p_values = np.random.default_rng(0).random(9) ** 4
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.slow
@pytest.mark.parametrize("baseline", [comparisons.BASELINE, None])
def test_the_family_error_is_kept_and_four_deviations_are_found(baseline: str | None) -> None:
    """The bars are 6 % and 90 %, with two standard errors of 300 sweeps on top."""
    same = [comparisons.over_seeds(number, 0, baseline) for number in range(300)]
    better = [comparisons.over_seeds(number, 4, baseline) for number in range(300)]
    assert comparisons.share(map(comparisons.rejects, same)) <= 0.06 + 0.027
    assert comparisons.share(map(comparisons.finds, better)) >= 0.90 - 0.035
