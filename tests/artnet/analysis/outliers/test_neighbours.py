import numpy as np
from sklearn.metrics.pairwise import cosine_distances

from artnet.analysis.outliers.neighbours import K, neighbours


def test_distances_are_means_over_the_nearest_of_the_same_part_and_class():
    rng = np.random.default_rng(0)
    n = 120
    embedding, parts = rng.normal(size=(n, 8)), rng.integers(0, 2, n)
    labels = np.where(rng.random(n) < 0.1, 2, rng.integers(0, 2, n))  # class 2 has fewer than K
    rivals = (labels + 1 + rng.integers(0, 2, n)) % 3
    found = neighbours(embedding, parts, labels, rivals)
    distances = cosine_distances(embedding)
    for row in range(n):
        for of, mean, nearest in (
            (labels[row], found.own[row], found.nearest_own[row]),
            (rivals[row], found.rival[row], found.nearest_rival[row]),
        ):
            members = [
                other for other in range(n) if other != row and labels[other] == of and parts[other] == parts[row]
            ]
            members = sorted(members, key=lambda other: distances[row, other])[:K]
            np.testing.assert_allclose(mean, distances[row, members].mean(), rtol=1e-9)
            assert nearest.tolist() == members + [-1] * (K - len(members))
    np.testing.assert_allclose(found.remoteness, found.own / (found.own + found.rival))


def test_a_painting_alone_in_its_class_has_no_distance_to_it():
    found = neighbours(np.eye(3), np.zeros(3), np.array([0, 1, 1]), np.array([1, 0, 2]))
    assert np.isnan(found.own[0]) and np.isnan(found.remoteness[0]) and found.nearest_own[0].tolist() == [-1] * K
    assert np.isnan(found.rival[2]) and found.rival[1] == 1


def test_paintings_without_any_distance_are_half_way_between_the_classes():
    labels = np.array([0, 0, 1, 1])
    found = neighbours(np.tile([1.0, 0, 0], (4, 1)), np.zeros(4), labels, 1 - labels)
    assert found.remoteness.tolist() == [0.5] * 4
