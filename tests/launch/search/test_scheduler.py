"""When runs are stopped early: a function of the curves alone."""

import math
import random

import pytest

from launch.search.scheduler import Scheduler, rungs

ASHA = Scheduler("asha", grace=1, reduction=3, epochs=27, maximize=True)


def test_rungs():
    assert rungs(1, 3, 27) == [1, 3, 9]
    assert rungs(2, 4, 33) == [2, 8, 32]
    assert rungs(5, 3, 5) == []
    halving = Scheduler("hyperband", grace=1, reduction=3, epochs=27, maximize=True)
    assert [list(halving.rungs(halving.bracket(number))) for number in range(4)] == [[1, 3, 9], [3, 9], [9], [1, 3, 9]]


def test_one_of_three_goes_on_at_a_rung_and_only_there():
    others = {1: [0.5], 2: [0.6, 0.9], 3: [0.4]}
    assert ASHA.stops(0, [0.55], others)
    assert not ASHA.stops(0, [0.65], others)
    assert not ASHA.stops(0, [0.6], others)  # as good as the best
    assert not ASHA.stops(0, [0.1, 0.1], others)  # no rung
    assert not ASHA.stops(0, [0.1, 0.1, 0.1], others)  # nobody to compare with
    five = others | {4: [0.7], 5: [0.8]}
    assert ASHA.stops(0, [0.65], five)
    assert not ASHA.stops(0, [0.75], five)  # two of six go on


def test_a_metric_to_minimise_and_the_last_epoch_instead_of_the_best():
    loss = Scheduler("asha", grace=2, reduction=2, epochs=9, maximize=False, best=False)
    others = {1: [0.2, 0.5], 2: [0.9, 0.4]}
    assert loss.stops(0, [0.1, 0.45], others)
    assert not loss.stops(0, [0.9, 0.3], others)
    by_best = Scheduler("asha", grace=2, reduction=2, epochs=9, maximize=False)
    assert not by_best.stops(0, [0.1, 0.45], others)


def test_no_rung_is_judged_with_fewer_entries_than_the_reduction_factor():
    assert not ASHA.stops(0, [0.0], {1: [0.9]})
    assert ASHA.stops(0, [0.0], {1: [0.9], 2: [0.8]})
    assert not ASHA.stops(0, [0.0], {1: [0.9], 2: [math.nan]})
    assert ASHA.stops(0, [math.nan], {1: [0.9], 2: [0.8], 3: [0.1]})
    median = Scheduler("median", grace=1, reduction=3, epochs=9, maximize=True)
    assert not median.stops(0, [0.0], {1: [0.9], 2: [0.8]})


def test_the_median_rule_compares_the_best_with_running_means():
    median = Scheduler("median", grace=2, reduction=3, epochs=9, maximize=True)
    others = {1: [0.0, 0.4], 2: [0.4, 0.6], 3: [0.5, 0.7]}  # running means 0.2, 0.5 and 0.6
    assert median.stops(0, [0.49, 0.3], others)
    assert not median.stops(0, [0.51, 0.3], others)
    assert not median.stops(0, [0.1], others)


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median", "none"])
def test_what_fails_changes_no_verdict_on_others(kind):
    """In 1,000 orders: runs end, diverge or fail at any epoch, and whoever comes later is judged as without that."""
    rng = random.Random(0)
    for _ in range(1000):
        scheduler = Scheduler(kind, rng.choice([1, 2]), rng.choice([2, 3, 4]), 9, maximize=rng.random() < 0.5)
        curves = {n: [rng.random() for _ in range(rng.randint(0, 9))] for n in range(1, rng.randint(2, 12))}
        own = [rng.random() for _ in range(rng.randint(1, 9))]
        verdict = scheduler.stops(0, own, curves)
        order = list(curves)
        rng.shuffle(order)
        failed = {
            n: [
                *curves[n],
                *[rng.choice([math.nan, math.inf, -math.inf])] * (len(curves[n]) < 9 and rng.random() < 0.5),
            ]
            for n in order
        }
        only_failed = {100 + n: [math.nan] * rng.randint(0, 9) for n in range(3)}
        reached = {n: len(curves[n]) >= len(own) for n in order}
        same = {n: failed[n] if reached[n] else curves[n] for n in order} | only_failed
        assert scheduler.stops(0, own, same) is verdict
        if kind == "none":
            assert not verdict
