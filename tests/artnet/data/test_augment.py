"""Augmentation: hues are preserved, rectangles erased, crops grow, all drawn before decoding."""

from collections import Counter
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from artnet.config.sections import AugmentConfig
from artnet.data.decode import decode
from artnet.data.epoch import train_plan, train_size
from artnet.data.loader import load
from artnet.data.trivial_augment import GREY, IDENTITY, OPERATIONS
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


def pillow(image: Image.Image) -> list[Callable[[float], Image.Image]]:
    """Pillow's own operations, in the order of `OPERATIONS`."""

    def affine(*matrix: float) -> Image.Image:
        return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY)

    return [
        lambda s: image,
        lambda s: affine(1, 0.99 * s, 0, 0, 1, 0),
        lambda s: affine(1, 0, 0, 0.99 * s, 1, 0),
        lambda s: affine(1, 0, 32 * s * image.width / 224, 0, 1, 0),
        lambda s: affine(1, 0, 0, 0, 1, 32 * s * image.height / 224),
        lambda s: image.rotate(135 * s, Image.Resampling.BILINEAR, fillcolor=GREY),
        lambda s: ImageEnhance.Brightness(image).enhance(1 + 0.99 * s),
        lambda s: ImageEnhance.Color(image).enhance(1 + 0.99 * s),
        lambda s: ImageEnhance.Contrast(image).enhance(1 + 0.99 * s),
        lambda s: ImageEnhance.Sharpness(image).enhance(1 + 0.99 * s),
        lambda s: ImageOps.posterize(image, 8 - round(6 * abs(s))),
        lambda s: ImageOps.autocontrast(image, preserve_tone=True),
        lambda s: image.point(equalizing(image.convert("L")) * 3),
    ]


def equalizing(grey: Image.Image) -> list[float]:
    """The mapping of the levels 0 to 255 by `ImageOps.equalize`."""
    before, after = np.asarray(grey).ravel(), np.asarray(ImageOps.equalize(grey)).ravel()
    return np.interp(range(256), *zip(*sorted(set(zip(before, after, strict=True))), strict=True)).tolist()


@pytest.mark.parametrize("number", range(len(OPERATIONS)))
def test_trivial_augment_matches_pillow(shards, number):
    reader = Reader(read_index(shards))
    for row, strength in zip(range(0, 200, 20), (-1, -0.7, -0.4, -0.1, 0, 0.1, 0.3, 0.5, 0.8, 1), strict=True):
        pixels = decode(reader[row])[:64, :64].copy()
        wanted = np.asarray(pillow(Image.fromarray(pixels))[number](strength)).astype(int)
        got = OPERATIONS[number](pixels, strength).astype(int)
        # By the median, because pixels on the corner's edge blend with the filling or do not.
        assert np.median(abs(got - wanted)) <= 1
        assert (abs(got - wanted) > 6).mean() < 0.08


def test_augmentation_is_drawn_as_configured():
    order, sizes = np.arange(3000), np.full((3000, 2), 100)

    def plan(epoch: int = 0, **changes: object):
        return train_plan(order, sizes, AugmentConfig(**changes), seed=0, epoch=epoch, size=33)

    assert plan(flip=0.3).flips.mean() == pytest.approx(0.3, abs=0.03)
    assert set(plan(policy="none").operations) == {IDENTITY}
    drawn = plan(policy="trivial")
    assert not np.array_equal(drawn.boxes, plan(epoch=1).boxes)
    assert min(Counter(drawn.operations.tolist()).values()) > 0.7 * 3000 / len(OPERATIONS)
    assert len(set(drawn.operations)) == len(OPERATIONS)
    assert (drawn.strengths.min(), drawn.strengths.max()) == (-1, 1)
