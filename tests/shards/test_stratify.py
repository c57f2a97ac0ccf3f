"""shards/stratify: quotas add up and spare rare classes, and samples meet them for all tasks at once."""

import numpy as np
import pytest

from shards.stratify import balanced_sample, class_quotas, largest_remainder, shuffle_key


def test_quotas_are_rounded_by_largest_remainder_and_ties_go_to_the_smaller_key():
    assert largest_remainder({2: 1.0, 1: 0.5, 0: 0.5}) == {2: 1, 1: 0, 0: 1}
    assert largest_remainder({0: 2.2, 1: 2.7, 2: 2.6}) == {0: 2, 1: 3, 2: 3}


@pytest.mark.parametrize(
    ("counts", "size", "quotas"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),
        ([100, 55, 3, 2], 8, [4, 3, 1, 0]),
        ([2, 5, 5], 0, [0, 0, 0]),
        ([10, 3], 2, [1, 1]),  # the rare class takes one of two places
        ([3, 3, 3], 2, [1, 1, 0]),  # but never the only place of another
    ],
)
def test_classes_of_three_or_more_get_a_place_while_others_have_two(counts, size, quotas):
    assert class_quotas(np.array(counts), size).tolist() == quotas


def test_a_balanced_sample_meets_the_quotas_of_all_tasks_at_once():
    # Two tasks that are not independent: a sample stratified by one alone would miss the other.
    labels = np.array([[0, 0]] * 30 + [[0, 1]] * 10 + [[1, 0]] * 10 + [[1, 1]] * 50)
    rows = balanced_sample(labels, [np.array([8, 12]), np.array([8, 12])], 20)
    assert [np.bincount(labels[rows, task]).tolist() for task in (0, 1)] == [[8, 12], [8, 12]]
    assert balanced_sample(labels[:5], [np.array([8, 12]), np.array([8, 12])], 20).tolist() == [0, 1, 2, 3, 4]


def test_each_step_of_a_balanced_sample_lowers_the_error_the_most():
    labels = np.random.default_rng(0).integers(4, size=(60, 2))
    wanted = [np.array([1, 4, 8, 0]), np.array([2, 2, 8, 1])]  # powers of two: sums of fractions are exact

    def error(rows: list[int]) -> float:
        got = [np.bincount(labels[rows, task], minlength=4) for task in (0, 1)]
        return sum(((w - g) ** 2 / np.maximum(w, 1)).sum() for w, g in zip(wanted, got, strict=True))

    chosen: list[int] = []
    for size in range(1, 25):
        chosen.append(min((row for row in range(60) if row not in chosen), key=lambda row: error([*chosen, row])))
        assert balanced_sample(labels, wanted, size).tolist() == sorted(chosen)


def test_shuffling_is_the_same_on_every_machine_and_in_every_version():
    # sha256("7:a/b.jpg")
    assert shuffle_key(7, "a/b.jpg").hex() == "e1aaf602ab05216c6bc0c194976de7fa3b62ae9186a1b723eda7c89f19bb8a02"
