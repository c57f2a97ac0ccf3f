import numpy as np
import pytest
from scipy.special import softmax

from artnet.analysis.outliers.evidence import pool
from shards.errors import UserError

from .made import source

VAL, TEST = (["b", "d"], [0, 1]), (["c", "a", "e"], [2, 1, 0])


def test_probabilities_are_the_mean_of_the_seeds_calibrated_ones():
    one, two = source("one", VAL, TEST, seed=1, temperature=2.0), source("two", VAL, TEST, seed=2, temperature=0.5)
    found = pool("artist", [one, two])
    assert found.keys.tolist() == ["a", "b", "c", "d", "e"] and found.labels.tolist() == [1, 0, 2, 1, 0]
    assert found.parts.tolist() == ["test", "val", "test", "val", "test"]
    logits = [of.predictions.splits["test"]["artist"].logits[1].astype(float) for of in (one, two)]
    wanted = (softmax(logits[0] / 2.0) + softmax(logits[1] / 0.5)) / 2
    np.testing.assert_allclose(found.probabilities[0], wanted, rtol=1e-12)
    own, other = wanted[1], max(wanted[0], wanted[2])
    assert found.margins[0] == pytest.approx(own - other, rel=1e-12)
    assert found.rivals[0] == (0 if wanted[0] > wanted[2] else 2)


def test_of_folds_each_painting_is_asked_for_where_it_was_tested_on():
    folds = [source("0", VAL, TEST, 1, "fold 0"), source("1", (["c", "a"], [2, 1]), (["b", "d"], [0, 1]), 2, "fold 1")]
    found = pool("artist", folds)
    assert found.parts.tolist() == ["fold 0", "fold 1", "fold 0", "fold 1", "fold 0"]
    test = folds[1].predictions.splits["test"]["artist"]
    np.testing.assert_allclose(found.probabilities[1], test.probabilities(2.0)[0])


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"classes": ["Anna", "Cleo", "=Bert"]}, "two has other classes of artist than one"),
        ({"data": "d1"}, "two was trained on other shards than one"),
    ],
)
def test_runs_of_another_class_file_or_other_shards_are_refused(other, said):
    with pytest.raises(UserError, match=said):
        pool("artist", [source("one", VAL, TEST), source("two", VAL, TEST, **other)])


@pytest.mark.parametrize("test", [(["c", "a"], [2, 1]), (["c", "a", "e"], [2, 1, 1])])
def test_runs_of_different_paintings_or_labels_are_refused(test):
    with pytest.raises(UserError, match="different paintings or labels"):
        pool("artist", [source("one", VAL, TEST), source("two", VAL, test)])


@pytest.mark.parametrize("lost", ["a split", "the temperature"])
def test_a_run_without_all_predictions_of_the_task_is_refused(lost):
    one = source("one", VAL, TEST)
    if lost == "a split":
        del one.predictions.splits["val"]
    else:
        one.predictions.origin.temperatures.clear()
    with pytest.raises(UserError, match=r"one has no predictions of val for artist; .*`python -m artnet\.evaluate`"):
        pool("artist", [one])
