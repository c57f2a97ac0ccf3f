"""Means and intervals match tables and values computed by hand."""

import math

import pytest

from artnet.analysis.statistics import estimate, t_quantile, wilson_interval


def test_intervals_match_published_tables() -> None:
    # Tables of Student's t, two-sided 95 %, and R: binom::binom.wilson(8, 10)
    for freedom, expected in {1: 12.7062, 2: 4.3027, 3: 3.1824, 10: 2.2281, 31: 2.0395, 1000: 1.9623}.items():
        assert t_quantile(freedom) == pytest.approx(expected, abs=5e-5)
    assert wilson_interval(0.8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-7)
    three = estimate([0.60, 0.62, 0.64], images=1000)
    assert (three.n, three.mean, three.std) == (3, pytest.approx(0.62), pytest.approx(0.02))
    assert three.interval == pytest.approx((0.570317, 0.669683), abs=1e-6)  # 4.3027 * 0.02 / sqrt(3)


def test_intervals_are_clipped_to_0_and_1() -> None:
    assert estimate([0.98, 0.99, 1.0], images=1000).interval[1] == 1
    assert estimate([0.0, 0.01, 0.02], images=1000).interval[0] == 0
    assert estimate([0.0, 1.0], images=1000).mean == 0.5
    # 95 % of the normal distribution lie within z = 1.959964; the interval of 0 of n ends at z^2 / (n + z^2).
    low, high = wilson_interval(0.0, 10)
    assert (low, high) == (0, pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6))
    assert wilson_interval(1.0, 10) == pytest.approx((1 - high, 1), abs=1e-12)
    assert wilson_interval(1.0, 10)[1] <= 1


def test_a_single_seed_has_no_standard_deviation_and_wilsons_interval() -> None:
    one = estimate([0.8], images=10)
    assert (one.n, one.mean, one.std) == (1, 0.8, None)
    assert one.interval == wilson_interval(0.8, 10)


def test_two_seeds_have_a_standard_deviation_and_are_too_few_for_an_interval() -> None:
    two = estimate([0.3, 0.5], images=10)
    assert (two.n, two.mean, two.std, two.interval) == (2, pytest.approx(0.4), pytest.approx(math.sqrt(0.02)), None)
