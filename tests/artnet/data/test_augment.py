"""Augmentation: hues are preserved, rectangles erased, crops grow, all drawn before decoding."""

import cv2
import numpy as np
import pytest
import torch

from artnet.config.sections import AugmentConfig
from artnet.data.decode import decode
from artnet.data.epoch import train_plan, train_size
from artnet.data.loader import load
from artnet.data.trivial_augment import GREY, OPERATIONS
from shards.index import read_index
from shards.reader import Reader
from tests.artnet.data.test_data import images, split

STRENGTHS = (-1, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1)


def hue_turn(before: np.ndarray, after: np.ndarray) -> float:
    """The shift of hues in CIELAB, degrees: the mean over pixels, weighted by their chroma."""
    colours = []
    for image in (before, after):
        lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
        colours.append(lab[..., 1] + 1j * lab[..., 2])
    weight = np.sqrt(abs(colours[0]) * abs(colours[1]))
    return float((weight * abs(np.angle(colours[1] * colours[0].conj(), deg=True))).sum() / max(weight.sum(), 1e-9))


@pytest.mark.parametrize("operation", OPERATIONS[6:])  # those before move pixels
def test_trivial_augment_nearly_preserves_hues(shards, operation):
    reader = Reader(read_index(shards))
    pictures = [decode(reader[row])[:64, :64].copy() for row in range(0, 200, 10)]
    turns = [hue_turn(image, operation(image, strength)) for image in pictures for strength in STRENGTHS]
    assert np.mean(turns) < 0.05 * 360


def test_erased_rectangles_have_the_frequency_and_sizes_of_random_erasing():
    sizes = np.full((4000, 2), 100)
    plan = train_plan(np.arange(4000), sizes, AugmentConfig(erasing=0.3), seed=0, epoch=0, size=200)
    width, height = (plan.erased[:, 2:] - plan.erased[:, :2]).T
    erased = width > 0
    assert erased.mean() == pytest.approx(0.3, abs=0.03)
    assert (plan.erased >= 0).all() and (plan.erased <= 200).all()
    area, aspect = (width * height)[erased] / 200**2, width[erased] / height[erased]
    assert (area.min(), area.max()) == pytest.approx((0.02, 0.33), abs=0.01)
    assert (aspect.min(), aspect.max()) == pytest.approx((0.3, 3.3), rel=0.1)
    assert np.ptp(plan.erased[erased, 0]) > 150  # anywhere


def test_an_erased_rectangle_is_grey_and_the_rest_of_the_view_unchanged(shards):
    erasing, without = split(shards, augment__erasing=1), split(shards, augment__erasing=0)
    plan = erasing.plan(0)
    (erased,), (whole,) = ([*load(data, data.plan(0), [np.arange(16)], 1)] for data in (erasing, without))
    for place, (left, top, right, bottom) in enumerate(plan.erased[:16].tolist()):
        assert right > left and bottom > top
        wanted = whole.images[place].clone()
        wanted[top:bottom, left:right] = torch.tensor(GREY, dtype=torch.uint8)
        assert torch.equal(erased.images[place], wanted)


def test_crops_grow_to_their_full_size_and_stay_there_for_the_last_quarter():
    sides = [train_size(epoch, 100, 100, 224) for epoch in range(100)]
    assert sides[0] == 100
    assert sides == sorted(sides)
    assert set(sides[75:]) == {224} and sides[70] < 224
    assert all(side % 16 == 0 for side in sides[1:] if side not in (100, 224))
    assert np.mean(sides[:75]) == pytest.approx((100 + 224) / 2, abs=3)
    for epochs in (2, 3, 4, 7):
        few = [train_size(epoch, epochs, 100, 224) for epoch in range(epochs)]
        assert (few[0], few[-1]) == (100, 224)
    assert {train_size(epoch, 5, 224, 224) for epoch in range(5)} == {224}


def test_a_run_trains_at_the_sizes_of_its_epochs_and_evaluates_at_one(shards):
    sizes = {"data__size": 64, "data__start_size": 33, "eval__size": 70, "train__epochs": 4}
    train, val = split(shards, **sizes), split(shards, "val", **sizes)
    assert [images(train, epoch).shape[1] for epoch in range(4)] == [33, 48, 48, 64]
    for epoch in (0, 3):
        assert images(val, epoch, batch_size=1).shape[1:] == (70, 70, 3)
