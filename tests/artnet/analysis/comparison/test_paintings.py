"""Differences over paintings equal those of statsmodels and SciPy, and the formulas of stratified samples."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.proportion import proportion_confint

from artnet.analysis.comparison.mcnemar import mcnemar, mcnemar_interval
from artnet.analysis.comparison.paintings import Paintings, Resampled, compare_both, compare_paintings
from artnet.analysis.comparison.units import Units
from benchmarks import comparisons


def paintings(n: int = 300, runs: int = 1, models: int = 2, classes: int = 3) -> Paintings:
    rng = np.random.default_rng(1)
    correct = {f"m{number}": rng.random((runs, n)) < 0.5 + 0.07 * number for number in range(models)}
    return Paintings(np.arange(n)[::-1], rng.integers(classes, size=n), correct)


def test_mcnemar_equals_statsmodels() -> None:
    for better, worse in ((0, 0), (1, 0), (5, 0), (12, 4), (30, 31), (7, 7)):
        differences = np.repeat([1, -1, 0], [better, worse, 20])
        assert mcnemar(differences) == pytest.approx(oracle_mcnemar([[9, better], [worse, 9]], exact=True).pvalue)
        if better + worse:
            share = proportion_confint(better, better + worse, alpha=0.05, method="beta")
            expected = [(2 * bound - 1) * (better + worse) / 200 for bound in share]
            assert mcnemar_interval(differences, 200, 0.05) == pytest.approx(expected, abs=1e-9)


def test_near_duplicates_are_exchanged_together() -> None:
    differences = np.array([3, 1, 1, -1, 2, 0, 1, -2, 1, 1])
    oracle = stats.permutation_test(
        (differences, np.zeros(10)), lambda x, y: (x - y).sum(), permutation_type="samples", n_resamples=np.inf
    )
    assert mcnemar(differences) == pytest.approx(oracle.pvalue)
    low, high = mcnemar_interval(differences, 20, oracle.pvalue)
    assert low == pytest.approx(0, abs=1e-9) and high > differences.sum() / 20


def test_two_runs_have_mcnemars_p_value_and_an_interval_that_agrees() -> None:
    of = paintings()
    (one,) = compare_paintings(Resampled.draw(of), "m0").differences
    first, second = of.correct["m1"][0], of.correct["m0"][0]
    table = [[0, (first & ~second).sum()], [(second & ~first).sum(), 0]]
    assert (one.method, one.mean) == ("McNemar", pytest.approx(first.mean() - second.mean()))
    assert one.p_value == pytest.approx(oracle_mcnemar(table, exact=True).pvalue)
    assert (one.p_value < 0.05) == (not one.interval[0] <= 0 <= one.interval[1])
    # Few paintings that differ, all in favour of one: the bootstrap alone would exclude 0.
    few = Paintings(np.arange(50), np.zeros(50, int), {"a": np.zeros((1, 50), bool), "b": np.arange(50)[None] < 5})
    (one,) = compare_paintings(Resampled.draw(few), "a").differences
    assert one.p_value == pytest.approx(0.0625) and one.interval[0] < 0 < one.interval[1]


def test_several_runs_are_families_of_mcnemar_tests() -> None:
    of = paintings(models=4)
    found = compare_paintings(Resampled.draw(of), None).differences
    alone = [
        compare_paintings(Resampled.draw(Paintings(of.groups, of.labels, {k: of.correct[k] for k in pair})), None)
        for pair in (("m0", "m1"), ("m0", "m2"), ("m0", "m3"), ("m1", "m2"), ("m1", "m3"), ("m2", "m3"))
    ]
    raw = [family.differences[0].p_value for family in alone]
    assert min(one.p_value for one in found) == pytest.approx(min(1, 6 * min(raw)))
    assert all(one.method == "McNemar, Holm" for one in found)
    for one, family in zip(found, alone, strict=True):
        assert one.interval[0] < family.differences[0].interval[0] < family.differences[0].interval[1] < one.interval[1]


def test_the_bootstrap_has_the_error_of_a_stratified_sample() -> None:
    of = paintings(runs=3)
    (one,) = compare_paintings(Resampled.draw(of), "m0").differences
    differences = of.correct["m1"].mean(0) - of.correct["m0"].mean(0)
    strata = [differences[of.labels == label] for label in range(3)]
    error = math.sqrt(sum(len(part) * part.var(ddof=1) for part in strata)) / len(differences)
    assert (one.method, one.mean, one.paintings) == ("paired bootstrap", pytest.approx(differences.mean()), 300)
    assert one.interval == pytest.approx(stats.norm.interval(0.95, one.mean, error), abs=0.06 * error)
    assert one.p_value == pytest.approx(2 * stats.norm.sf(abs(one.mean) / error), abs=0.01)


def test_near_duplicates_are_drawn_together() -> None:
    """Each painting four times, as near-duplicates, has the same error as each once; as single ones, half of it."""
    of = paintings(runs=3)
    repeated = {label: np.repeat(runs, 4, axis=1) for label, runs in of.correct.items()}
    grouped = Paintings(np.repeat(of.groups, 4), np.repeat(of.labels, 4), repeated)
    single = Paintings(np.arange(1200), np.repeat(of.labels, 4), repeated)
    widths = []
    for some in (of, grouped, single):
        (one,) = compare_paintings(Resampled.draw(some), "m0").differences
        widths.append(one.interval[1] - one.interval[0])
    assert widths[1] == pytest.approx(widths[0])
    assert widths[2] == pytest.approx(widths[0] / 2, rel=0.05)


def test_a_family_of_bootstraps_is_wider_than_one() -> None:
    of = paintings(runs=2, models=5)
    several = compare_paintings(Resampled.draw(of), "m0").differences[0]
    pair = Paintings(of.groups, of.labels, {label: of.correct[label] for label in ("m0", "m1")})
    (one,) = compare_paintings(Resampled.draw(pair), "m0").differences
    ratio = (several.interval[1] - several.interval[0]) / (one.interval[1] - one.interval[0])
    # Four comparisons with one baseline: between one and four independent ones.
    assert 1.05 < ratio < stats.norm.isf(0.025 / 4) / stats.norm.isf(0.025)
    assert several.p_value > one.p_value


def test_classes_and_units() -> None:
    groups, labels = np.array([7, 3, 7, 5, 3, 7, 9]), np.array([1, 0, 2, 0, 1, 1, 2])
    units = Units.build(groups, labels)
    # 3 is a tie of classes 0 and 1; 7 is mostly 1; 5 is 0; 9 is 2.
    assert units.of.tolist() == [2, 0, 2, 1, 0, 2, 3]
    assert (units.sizes.tolist(), units.counts.tolist(), units.starts.tolist()) == (
        [2, 1, 3, 1],
        [2, 2, 1, 1],
        [0, 0, 2, 3],
    )


def test_both_adds_the_errors_of_seeds_and_paintings() -> None:
    rng = np.random.default_rng(0)
    n, runs = 2000, 6
    logits = rng.normal(size=n)
    correct = {
        label: rng.random((runs, n)) < 1 / (1 + np.exp(-logits - 0.5 * rng.normal(size=(runs, 1)))) for label in "ab"
    }
    resampled = Resampled.draw(Paintings(np.arange(n), np.zeros(n, int), correct))
    (both,) = compare_both(resampled, "a").differences
    seeds = [runs_of.mean(1).var(ddof=1) / runs for runs_of in correct.values()]
    pictures = (correct["b"].mean(0) - correct["a"].mean(0)).var(ddof=1) / n
    welch = (sum(seeds) + pictures) ** 2 / sum(part**2 / (runs - 1) for part in seeds)
    half = stats.t.isf(0.025, welch) * math.sqrt(sum(seeds) + pictures)
    assert (both.interval[1] - both.interval[0]) / 2 == pytest.approx(half, rel=0.08)
    assert both.seeds == (6, 6) and both.paintings == n
    with pytest.raises(ValueError, match="fewer than 5"):
        compare_both(Resampled.draw(paintings(runs=4), draws=10), "m0")


def test_equal_runs_have_no_interval() -> None:
    same = np.arange(30)[None] < 20
    for runs in (1, 5):
        of = Paintings(np.arange(30), np.zeros(30, int), dict.fromkeys("ab", np.repeat(same, runs, 0)))
        resampled = Resampled.draw(of)
        families = [compare_paintings(resampled, "a"), *([compare_both(resampled, "a")] if runs == 5 else [])]
        assert [(one.interval, one.p_value) for family in families for one in family.differences] == [(None, 1)] * len(
            families
        )


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "spread"), [(1, 0.0), (3, 0.0), (5, 0.1), (5, 0.5)])
def test_the_family_error_is_kept(runs: int, spread: float) -> None:
    """The bar is 6 %, with two standard errors of 400 sweeps on top."""
    families = [comparisons.over_paintings(number, runs, spread) for number in range(400)]
    assert comparisons.share(map(comparisons.rejects, families)) <= 0.06 + 0.024
