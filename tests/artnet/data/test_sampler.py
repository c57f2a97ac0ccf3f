"""The order of an epoch: exact for any number of ranks, reshuffled, and balanced over classes if wanted."""

from collections import Counter

import numpy as np
import pytest

from artnet.data.sampler import class_balanced, eval_batches, shuffled, train_batches


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_an_epoch_has_the_same_global_batches_for_any_number_of_ranks(world_size):
    alone = train_batches(103, 8, 0, 1)
    ranks = [train_batches(103, 8, rank, world_size) for rank in range(world_size)]
    assert [np.concatenate(parts).tolist() for parts in zip(*ranks, strict=True)] == [batch.tolist() for batch in alone]
    assert np.concatenate(alone).tolist() == list(range(96))
    evaluated = np.concatenate([b for rank in range(world_size) for b in eval_batches(103, 8, rank, world_size)])
    assert sorted(evaluated.tolist()) == list(range(103))


def test_every_epoch_has_every_sample_once_thoroughly_reshuffled():
    epochs = [shuffled(10_000, seed=0, epoch=epoch) for epoch in range(3)]
    for order in epochs:
        assert sorted(order.tolist()) == list(range(10_000))
        # Even the first batch of 64 covers the whole set, and neighbours in the shards are far apart in the epoch.
        assert len(set(order[:64] // 1000)) >= 9
        assert np.median(abs(np.diff(np.argsort(order)))) > 2000
    assert np.mean(epochs[0] == epochs[1]) < 0.001
    assert not np.array_equal(epochs[0], shuffled(10_000, seed=1, epoch=0))


def test_class_balanced_epochs_balance_classes_and_repeat_samples_evenly():
    labels = np.repeat([0, 1, 2], [700, 290, 10])
    first, second = (class_balanced(labels, seed=0, epoch=epoch) for epoch in range(2))
    assert len(first) == len(labels)
    counts = Counter(labels[first].tolist())
    assert max(counts.values()) - min(counts.values()) <= 1
    shown = Counter(first.tolist())
    assert {shown[sample] for sample in range(990, 1000)} <= {33, 34}
    assert {shown[sample] for sample in range(700, 990)} <= {1, 2}
    assert set(first[labels[first] == 0]) != set(second[labels[second] == 0])
