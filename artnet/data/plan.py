"""What an epoch shows: the crop and augmentation of every sample, drawn before anything is decoded. Pure.

All random numbers of an epoch depend on (seed, epoch) and a sample's position in the epoch, and so not on the number
of ranks, threads or the step that a run goes on from.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..sections import AugmentConfig
from .trivial import IDENTITY, OPERATIONS

EVAL_CROP = 0.875  # share of the resized short side that an evaluation crop keeps, as is customary on ImageNet
TRIES = 10  # draws of a crop's shape before the largest that fits is taken, as in torchvision's RandomResizedCrop
STRENGTHS = 31  # levels of TrivialAugment (Müller and Hutter, ICCV 2021)


@dataclass(frozen=True)
class Plan:
    """An epoch of n views, one per position.

    `order` int64 (n,): which sample. `boxes` int64 (n, 4): its crop as left, top, right, bottom in pixels. `flips`
    bool (n,): mirrored or not. `operations` int64 (n,) and `strengths` float64 (n,), -1 to 1: those of `trivial`.
    """

    order: np.ndarray
    boxes: np.ndarray
    flips: np.ndarray
    operations: np.ndarray
    strengths: np.ndarray


def train_plan(order: np.ndarray, sizes: np.ndarray, augment: AugmentConfig, seed: int, epoch: int) -> Plan:
    """Random crops, flips and, if wanted, TrivialAugment of samples in `order`, whose `sizes` are width, height."""
    rng = np.random.default_rng([seed, epoch, 1])
    boxes = random_boxes(sizes, augment.crop_scale, rng)
    flips = rng.random(len(order)) < augment.flip
    operations = rng.integers(len(OPERATIONS), size=len(order))
    strengths = rng.integers(STRENGTHS, size=len(order)) / (STRENGTHS - 1) * rng.choice([-1, 1], len(order))
    if augment.policy == "none":
        operations = np.full(len(order), IDENTITY)
    return Plan(order, boxes, flips, operations, strengths)


def eval_plan(sizes: np.ndarray) -> Plan:
    """Every sample once, in its place: the centre square, of 87.5 % of the shorter side."""
    side = np.rint(EVAL_CROP * sizes.min(1)).astype(np.int64)
    corner = (sizes - side[:, None]) // 2
    boxes = np.concatenate([corner, corner + side[:, None]], 1)
    n = len(sizes)
    return Plan(np.arange(n), boxes, np.zeros(n, bool), np.full(n, IDENTITY), np.zeros(n))


def random_boxes(sizes: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes of at least `scale` of the area and an aspect ratio between 3:4 and 4:3; int64 (n, 4), pixels.

    Inception's crop (Szegedy et al., "Going deeper with convolutions", CVPR 2015). Where no draw fits into the image,
    as in a very long one, it is the largest centred box of an allowed aspect ratio. `sizes` is int64 (n, 2).
    """
    width, height = sizes[:, :1], sizes[:, 1:]
    areas = width * height * rng.uniform(scale, 1, (len(sizes), TRIES))
    aspects = np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), areas.shape))
    w, h = np.rint(np.sqrt(areas * aspects)), np.rint(np.sqrt(areas / aspects))
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    fitting = np.arange(len(sizes)), fits.argmax(1)  # the first that fits
    drawn = np.stack([w[fitting], h[fitting]], 1)
    largest = np.minimum(sizes, np.rint(sizes[:, ::-1] * 4 / 3))
    found = fits.any(1)[:, None]
    box = np.where(found, drawn, largest)
    corner = np.where(found, np.floor(rng.random((len(sizes), 2)) * (sizes - box + 1)), (sizes - box) // 2)
    return np.concatenate([corner, corner + box], 1).astype(np.int64)
