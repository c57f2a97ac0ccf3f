"""What happens to one decoded image: crop, flip, TrivialAugment. Pure, given its random generator."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ..config import AugmentConfig
from .decode import Box, resized_crop

GREY = (124, 116, 104)  # the ImageNet mean: what is zero after normalisation fills the corners
EVAL_CROP = 0.875  # share of the resized short side that an evaluation crop keeps, as is customary on ImageNet

Operation = Callable[[Image.Image, float], Image.Image]


def train_view(pixels: np.ndarray, size: int, augment: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """A random (size, size, 3) crop of an image (h, w, 3), perhaps flipped, perhaps with one operation of
    TrivialAugment; uint8.
    """
    height, width, _ = pixels.shape
    view = resized_crop(pixels, random_crop(width, height, augment.crop_scale, rng), size)
    if rng.random() < augment.flip:
        view = view[:, ::-1]
    if augment.policy == "trivial":
        view = np.asarray(trivial_augment(Image.fromarray(view), rng))
    return view


def eval_view(pixels: np.ndarray, size: int) -> np.ndarray:
    """The centre of an image (h, w, 3), uint8 (size, size, 3): the crop keeps 87.5 % of the shorter side."""
    height, width, _ = pixels.shape
    side = round(EVAL_CROP * min(width, height))
    left, top = (width - side) // 2, (height - side) // 2
    return resized_crop(pixels, (left, top, left + side, top + side), size)


def random_crop(width: int, height: int, scale: float, rng: np.random.Generator) -> Box:
    """A box of at least `scale` of the area and an aspect ratio between 3:4 and 4:3, in pixels.

    Inception's crop (Szegedy et al., "Going deeper with convolutions", CVPR 2015). Where ten draws do not fit into
    the image, as in a very long one, it is the largest centred box of an allowed aspect ratio.
    """
    for _ in range(10):
        area = width * height * rng.uniform(scale, 1.0)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def trivial_augment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """One operation, of a strength drawn uniformly: TrivialAugment Wide (Müller and Hutter, ICCV 2021)."""
    operation = OPERATIONS[int(rng.integers(len(OPERATIONS)))]
    strength = int(rng.integers(31)) / 30
    return operation(image, strength if rng.random() < 0.5 else -strength)


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=GREY)


def _enhance(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, strength: kind(image).enhance(1 + 0.99 * strength)


# Each takes a signed strength from -1 to 1; ranges as in the paper's "wide" space.
OPERATIONS: tuple[Operation, ...] = (
    lambda image, strength: image,
    lambda image, strength: _affine(image, 1, 0.99 * strength, 0, 0, 1, 0),
    lambda image, strength: _affine(image, 1, 0, 0, 0.99 * strength, 1, 0),
    lambda image, strength: _affine(image, 1, 0, 32 * strength * image.width / 224, 0, 1, 0),
    lambda image, strength: _affine(image, 1, 0, 0, 0, 1, 32 * strength * image.height / 224),
    lambda image, strength: image.rotate(135 * strength, Image.Resampling.BILINEAR, fillcolor=GREY),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Sharpness),
    lambda image, strength: ImageOps.posterize(image, 8 - round(6 * abs(strength))),
    lambda image, strength: ImageOps.solarize(image, round(256 * (1 - abs(strength)))),
    lambda image, strength: ImageOps.autocontrast(image),
    lambda image, strength: ImageOps.equalize(image),
)
