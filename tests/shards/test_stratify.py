"""shards/stratify: quotas add up and spare rare classes, and samples meet them for all tasks at once."""

import numpy as np

from shards.stratify import balanced_sample, class_quotas


def test_quotas_are_rounded_by_largest_remainder_and_spare_the_rare():
    assert class_quotas(np.array([50, 30, 20]), 10).tolist() == [5, 3, 2]
    assert class_quotas(np.array([100, 55, 3, 2]), 8).tolist() == [4, 3, 1, 0]
    assert class_quotas(np.array([2, 5, 5]), 0).tolist() == [0, 0, 0]


def test_a_balanced_sample_meets_the_quotas_of_all_heads_at_once():
    # Two heads that are not independent: a sample stratified by one alone would miss the other.
    labels = np.array([[0, 0]] * 30 + [[0, 1]] * 10 + [[1, 0]] * 10 + [[1, 1]] * 50)
    rows = balanced_sample(labels, [np.array([8, 12]), np.array([8, 12])], 20)
    assert [np.bincount(labels[rows, head]).tolist() for head in (0, 1)] == [[8, 12], [8, 12]]
