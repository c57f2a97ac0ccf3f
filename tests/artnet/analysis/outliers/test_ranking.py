from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import percentileofscore
from sklearn.metrics import average_precision_score

from artnet.analysis.outliers.confidence import doubted, label_quality
from artnet.analysis.outliers.neighbours import neighbours
from artnet.analysis.outliers.ranking import rank, within

from .made import evidence


def test_label_quality_is_the_confidence_over_that_of_each_class():
    of = evidence()
    own = [of.probabilities[of.labels == label, label].mean() for label in range(3)]
    shifted = of.probabilities - own + max(own)
    wanted = shifted[np.arange(len(of)), of.labels] / shifted.sum(1)
    np.testing.assert_allclose(label_quality(of.labels, of.probabilities), wanted)


def test_what_is_confidently_another_class_is_doubted():
    of = evidence()
    surely = of.probabilities.copy()
    surely[0] = 0.001
    surely[0, (of.labels[0] + 1) % 3] = 0.998
    surely[1] = 0.3
    surely[1, (of.labels[1] + 1) % 3] = 0.4  # more probable than the label, but not as probable as its class mostly is
    found = doubted(of.labels, surely)
    assert found[0] and not found[1] and found.mean() < 0.2


def test_quantiles_are_within_a_class_with_mean_ranks_of_ties():
    labels, values = np.array([0, 0, 0, 0, 1, 2, 2]), np.array([3.0, 1.0, 1.0, 9.0, 5.0, np.nan, 4.0])
    found = within(labels, values)
    wanted = [percentileofscore(values[:4], value, "mean") / 100 for value in values[:4]]
    np.testing.assert_allclose(found, [*wanted, 0.5, np.nan, 0.5])


def test_the_score_is_the_mean_of_two_quantiles_and_a_hard_class_does_not_fill_the_list():
    of = evidence(hard=2)
    embedding = np.random.default_rng(1).normal(size=(len(of), 4))
    found = neighbours(embedding, of.parts, of.labels, of.rivals)
    ranking = rank(of, found)
    wanted = (within(of.labels, -label_quality(of.labels, of.probabilities)) + within(of.labels, found.remoteness)) / 2
    np.testing.assert_allclose(ranking.scores, wanted)
    assert (np.diff(ranking.scores[ranking.order]) <= 0).all()
    first = of.labels[rank(of).order[:30]]
    assert (np.bincount(first, minlength=3) >= 8).all()
    of_all = of.labels[np.argsort(of.margins)[:30]]  # by raw confidence, it is all of the hard class
    assert np.bincount(of_all, minlength=3)[2] > 25


def test_of_equal_scores_the_worse_label_quality_comes_first():
    of = evidence(40)
    of = replace(of, labels=np.arange(40) % 2, keys=of.keys[::-1].copy())  # classes of one size have equal quantiles
    found = rank(of)
    assert len(np.unique(found.scores)) == 20
    assert found.order.tolist() == sorted(range(40), key=lambda row: (-found.scores[row], found.quality[row]))


def test_planted_swaps_come_first():
    of = evidence(1000, classes=4, hard=3)
    rng = np.random.default_rng(2)
    planted = rng.permutation(1000) < 50
    labels = np.where(planted, (of.labels + rng.integers(1, 4, 1000)) % 4, of.labels)
    centres = rng.normal(size=(4, 6))
    embedding = centres[of.labels] + 0.5 * rng.normal(size=(1000, 6))
    of = replace(of, labels=labels)
    both = rank(of, neighbours(embedding, of.parts, of.labels, of.rivals))
    raw = average_precision_score(planted, -of.probabilities[np.arange(1000), labels])
    alone, together = (average_precision_score(planted, found.scores) for found in (rank(of), both))
    assert raw < alone < together and together > 0.5
    assert planted[both.order[:100]].sum() >= 40


def test_a_painting_without_neighbours_is_ranked_by_its_probabilities():
    of = evidence(30)
    found = neighbours(np.eye(30), np.arange(30), of.labels, of.rivals)  # each in a part of its own
    assert rank(of, found).scores == pytest.approx(rank(of).scores)
