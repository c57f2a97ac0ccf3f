"""What an epoch shows: the crop and augmentation of every sample, drawn before anything is decoded. Pure.

All random numbers of an epoch depend on (seed, epoch) and a sample's position in the epoch, and so not on the number
of ranks, threads or the step that a run goes on from.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..sections import AugmentConfig
from .trivial_augment import IDENTITY, OPERATIONS

Range = tuple[float, float]

EVAL_CROP = 0.875  # share of the resized short side that an evaluation crop keeps, as is customary on ImageNet
TRIES = 10  # draws of a crop's shape before the largest that fits is taken, as in torchvision's RandomResizedCrop
STRENGTHS = 31  # levels of TrivialAugment (Müller and Hutter, ICCV 2021)
ERASED_AREA, ERASED_ASPECT = (0.02, 0.33), (0.3, 3.3)  # as in torchvision's RandomErasing
GROWTH = 0.75  # share of a run in which crops grow, with progressive resizing
GRAIN = 16  # pixels: crops grow through multiples of it, so that there are few sizes


@dataclass(frozen=True)
class EpochPlan:
    """An epoch of n views, one per position.

    `order` int64 (n,): which sample. `boxes` int64 (n, 4): its crop as left, top, right, bottom in pixels. `flips`
    bool (n,): mirrored or not. `operations` int64 (n,) and `strengths` float64 (n,), -1 to 1: those of `trivial`.
    `erased` int64 (n, 4): a box of the view that shows nothing, in pixels as `boxes`; it may be empty. `size`: side of
    all views, pixels.
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
    """Random crops, flips, erased boxes and, if wanted, TrivialAugment of the samples in `order`.

    `sizes`, int64 (n, 2), are their width and height as packed; `size` is the side of the views. All in pixels.
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
    """Side of the crops of an epoch (from 0) of `epochs`, pixels: from `start` in the first to `size`.

    Progressive resizing (Howard, in Stanford's DAWNBench, 2018; Tan and Le, "EfficientNetV2", ICML 2021): small crops
    cost little while the network learns what is coarse. They grow linearly over three quarters of the epochs, in
    multiples of 16 pixels, and have the full size in the last quarter, so that the network settles at it.
    """
    share = min(1.0, epoch / max(1, math.floor(GROWTH * epochs)))
    return size if share == 1 else min(size, max(start, GRAIN * round((start + share * (size - start)) / GRAIN)))


def eval_plan(sizes: np.ndarray, size: int) -> EpochPlan:
    """Every sample once, in its place: the centre square, of 87.5 % of the shorter side."""
    side = np.rint(EVAL_CROP * sizes.min(1)).astype(np.int64)
    corner = (sizes - side[:, None]) // 2
    boxes = np.concatenate([corner, corner + side[:, None]], 1)
    n = len(sizes)
    nothing = np.zeros((n, 4), np.int64)
    return EpochPlan(np.arange(n), boxes, np.zeros(n, bool), np.full(n, IDENTITY), np.zeros(n), nothing, size)


def random_boxes(sizes: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes of at least `scale` of the area and an aspect ratio between 3:4 and 4:3; int64 (n, 4), pixels.

    Inception's crop (Szegedy et al., "Going deeper with convolutions", CVPR 2015). Where no draw fits into the image,
    as in a very long one, it is the largest centred box of an allowed aspect ratio. `sizes` is int64 (n, 2).
    """
    drawn, found = _fitting(sizes, (scale, 1), (3 / 4, 4 / 3), rng)
    largest = np.minimum(sizes, np.rint(sizes[:, ::-1] * 4 / 3))
    box = np.where(found, drawn, largest)
    corner = np.where(found, np.floor(rng.random((len(sizes), 2)) * (sizes - box + 1)), (sizes - box) // 2)
    return np.concatenate([corner, corner + box], 1).astype(np.int64)


def erased_boxes(n: int, size: int, probability: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes to erase in `n` views of side `size`, int64 (n, 4), pixels; empty but for a share of `probability`.

    Random erasing (Zhong et al., AAAI 2020): 2 to 33 % of the view, of an aspect ratio between 0.3 and 3.3, anywhere.
    """
    sizes = np.full((n, 2), size)
    box, found = _fitting(sizes, ERASED_AREA, ERASED_ASPECT, rng)
    is_erased = found & (rng.random((n, 1)) < probability)
    corner = np.floor(rng.random((n, 2)) * (sizes - box + 1))
    return np.where(is_erased, np.concatenate([corner, corner + box], 1), 0).astype(np.int64)


def _fitting(
    sizes: np.ndarray, shares: Range, aspects: Range, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of a box in each of `sizes`, (n, 2), the first drawn that fits, and whether any did, (n, 1).

    Its share of the area is even over a range, as is the logarithm of its aspect ratio.
    """
    width, height = sizes[:, :1], sizes[:, 1:]
    areas = width * height * rng.uniform(*shares, (len(sizes), TRIES))
    ratios = np.exp(rng.uniform(math.log(aspects[0]), math.log(aspects[1]), areas.shape))
    w, h = np.rint(np.sqrt(areas * ratios)), np.rint(np.sqrt(areas / ratios))
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = np.arange(len(sizes)), fits.argmax(1)
    return np.stack([w[first], h[first]], 1), fits.any(1)[:, None]
