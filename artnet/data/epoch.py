"""The plan of an epoch: crop and augmentation of every sample, drawn before anything is decoded. Pure functions.

The random numbers of an epoch depend only on (seed, epoch) and the sample's position in the epoch: not on the number
of ranks or threads, nor on the step from which a run resumes.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..config.sections import AugmentConfig
from .trivial_augment import IDENTITY, OPERATIONS

Range = tuple[float, float]

EVAL_CROP = 0.875  # share of the shorter side that an evaluation crop keeps, as is customary on ImageNet
TRIES = 10  # draws of a crop's shape before falling back to the largest, as in torchvision's RandomResizedCrop
STRENGTHS = 31  # levels of TrivialAugment (Müller and Hutter, ICCV 2021)
ERASED_AREA, ERASED_ASPECT = (0.02, 0.33), (0.3, 3.3)  # as in torchvision's RandomErasing
GROWTH = 0.75  # share of a run during which crops grow, with progressive resizing
SIZE_STEP = 16  # pixels; growing crops have multiples of it as sizes, so that there are few sizes


@dataclass(frozen=True)
class EpochPlan:
    """An epoch of n views, one per position.

    `order` int64 (n,) is the sample of each view. `boxes` int64 (n, 4) are the crops: left, top, right, bottom in
    pixels. `flips` bool (n,): whether the crop is mirrored. `operations` int64 (n,) and `strengths` float64 (n,), -1
    to 1, are those of TrivialAugment. `erased` int64 (n, 4) are the erased boxes of the views, as `boxes`; they may be
    empty. `size` is the side of all views in pixels.
    """

    order: np.ndarray
    boxes: np.ndarray
    flips: np.ndarray
    operations: np.ndarray
    strengths: np.ndarray
    erased: np.ndarray
    size: int


def train_plan(
    order: np.ndarray, sizes: np.ndarray, augment: AugmentConfig, seed: int, epoch: int, size: int
) -> EpochPlan:
    """Draw crops, flips, erased boxes and, if configured, TrivialAugment for the samples in `order`, int64 (n,).

    `sizes`, int64 (n, 2), are their width and height as packed; `size` is the side of the views. Both in pixels.
    """
    rng = np.random.default_rng([seed, epoch, 1])
    boxes = random_boxes(sizes, augment.crop_scale, rng)
    flips = rng.random(len(order)) < augment.flip
    operations = rng.integers(len(OPERATIONS), size=len(order))
    strengths = rng.integers(STRENGTHS, size=len(order)) / (STRENGTHS - 1) * rng.choice([-1, 1], len(order))
    if augment.policy == "none":
        operations = np.full(len(order), IDENTITY)
    erased = erased_boxes(len(order), size, augment.erasing, rng)
    return EpochPlan(order, boxes, flips, operations, strengths, erased, size)


def train_size(epoch: int, epochs: int, start: int, size: int) -> int:
    """Side of the crops, in pixels, of an epoch (from 0) of `epochs`: it grows from `start` to `size`.

    Progressive resizing (Howard, in Stanford's DAWNBench, 2018; Tan and Le, "EfficientNetV2", ICML 2021): small crops
    are cheap while the network learns coarse features. The side grows linearly over the first three quarters of the
    epochs, in multiples of 16 pixels, and is `size` in the last quarter, so that the network adapts to it.
    """
    share = min(1.0, epoch / max(1, math.floor(GROWTH * epochs)))
    return (
        size if share == 1 else min(size, max(start, SIZE_STEP * round((start + share * (size - start)) / SIZE_STEP)))
    )


def eval_plan(sizes: np.ndarray, size: int) -> EpochPlan:
    """Plan every sample once, in order: its centre square, with 87.5 % of the shorter side.

    `sizes`, int64 (n, 2), are the samples' width and height as packed; `size` is the side of the views. Both in pixels.
    """
    side = np.rint(EVAL_CROP * sizes.min(1)).astype(np.int64)
    corner = (sizes - side[:, None]) // 2
    boxes = np.concatenate([corner, corner + side[:, None]], 1)
    n = len(sizes)
    nothing = np.zeros((n, 4), np.int64)
    return EpochPlan(np.arange(n), boxes, np.zeros(n, bool), np.full(n, IDENTITY), np.zeros(n), nothing, size)


def random_boxes(sizes: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Draw boxes of at least `scale` of the area and an aspect ratio between 3:4 and 4:3; int64 (n, 4), pixels.

    Inception's crop (Szegedy et al., "Going deeper with convolutions", CVPR 2015). If no draw fits into the image, as
    in a very long one, the box is the largest centred one with an allowed aspect ratio. `sizes` is int64 (n, 2).
    """
    drawn, found = _draw_shapes(sizes, (scale, 1), (3 / 4, 4 / 3), rng)
    largest = np.minimum(sizes, np.rint(sizes[:, ::-1] * 4 / 3))
    box = np.where(found, drawn, largest)
    corner = np.where(found, np.floor(rng.random((len(sizes), 2)) * (sizes - box + 1)), (sizes - box) // 2)
    return np.concatenate([corner, corner + box], 1).astype(np.int64)


def erased_boxes(n: int, size: int, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Draw boxes to erase in `n` views of side `size`, int64 (n, 4), pixels; not empty with the given `probability`.

    Random erasing (Zhong et al., AAAI 2020): 2 to 33 % of the view, with an aspect ratio between 0.3 and 3.3, anywhere.
    """
    sizes = np.full((n, 2), size)
    box, found = _draw_shapes(sizes, ERASED_AREA, ERASED_ASPECT, rng)
    is_erased = found & (rng.random((n, 1)) < probability)
    corner = np.floor(rng.random((n, 2)) * (sizes - box + 1))
    return np.where(is_erased, np.concatenate([corner, corner + box], 1), 0).astype(np.int64)


def _draw_shapes(
    sizes: np.ndarray, shares: Range, aspects: Range, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a width and height that fit into each of `sizes`, (n, 2), and whether any draw did, (n, 1).

    The share of the area and the logarithm of the aspect ratio are uniform over `shares` and `aspects`.
    """
    width, height = sizes[:, :1], sizes[:, 1:]
    areas = width * height * rng.uniform(*shares, (len(sizes), TRIES))
    ratios = np.exp(rng.uniform(math.log(aspects[0]), math.log(aspects[1]), areas.shape))
    w, h = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = np.arange(len(sizes)), fits.argmax(1)
    return np.stack([w[first], h[first]], 1), fits.any(1)[:, None]
