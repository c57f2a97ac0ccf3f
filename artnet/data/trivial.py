"""TrivialAugment Wide (Müller and Hutter, ICCV 2021): one operation of a random strength. Pure.

By OpenCV, which lets other threads run meanwhile. Each operation takes uint8 (size, size, 3) and a signed strength
from -1 to 1; ranges as in the paper's "wide" space, arithmetic as Pillow's.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

GREY = (124, 116, 104)  # the ImageNet mean: what is zero after normalisation fills the corners
LUMA = np.array([[0.299, 0.587, 0.114]])  # ITU-R 601-2, what Pillow's conversion to grey weighs colours by
LEVELS = np.arange(256.0)

Operation = Callable[[np.ndarray, float], np.ndarray]


def _warp(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Fetch every pixel (x, y) from `matrix` (2, 3) times (x, y, 1); both count from the image's corner."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5  # OpenCV counts from the centre of the first pixel
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (image.shape[1], image.shape[0])
    four = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)  # OpenCV warps four channels in half the time of three
    warped = cv2.warpAffine(four, shifted, size, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=GREY)
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)


def _affine(a: float, b: float, c: float, d: float, e: float, f: float) -> np.ndarray:
    return np.array([[a, b, c], [d, e, f]], np.float64)


def _rotate(image: np.ndarray, strength: float) -> np.ndarray:
    angle = math.radians(135 * strength)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = image.shape[1] / 2, image.shape[0] / 2
    return _warp(image, _affine(cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y))


def _map(image: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Replace each value by `levels`, (256,) or for each channel (256, 3), cut to 0..255."""
    table = np.clip(levels, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table if table.ndim == 1 else table[None])


def _brightness(image: np.ndarray, strength: float) -> np.ndarray:
    return cv2.convertScaleAbs(image, alpha=1 + 0.99 * strength)


def _color(image: np.ndarray, strength: float) -> np.ndarray:
    factor = 1 + 0.99 * strength
    return cv2.transform(image, factor * np.eye(3) + (1 - factor) * LUMA.repeat(3, 0))


def _contrast(image: np.ndarray, strength: float) -> np.ndarray:
    mean = round(float(LUMA[0] @ cv2.mean(image)[:3]))
    return _map(image, mean + (LEVELS - mean) * (1 + 0.99 * strength))


def _sharpness(image: np.ndarray, strength: float) -> np.ndarray:
    # Pillow's smooth image has weight 5 in the centre of 3 x 3 ones: 4 of the image and 9 of a box's mean.
    rest = -0.99 * strength
    mean = cv2.blur(image, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return cv2.addWeighted(image, 1 - rest + rest * 4 / 13, mean, rest * 9 / 13, 0)


def _posterize(image: np.ndarray, strength: float) -> np.ndarray:
    return image & np.uint8(256 - 2 ** round(6 * abs(strength)))


def _solarize(image: np.ndarray, strength: float) -> np.ndarray:
    threshold = round(256 * (1 - abs(strength)))
    return _map(image, np.where(threshold <= LEVELS, 255 - LEVELS, LEVELS))


def _autocontrast(image: np.ndarray, strength: float) -> np.ndarray:
    rows = image.reshape(len(image), -1)  # whole rows first: NumPy is slow along an axis of three
    low, high = (extreme.reshape(-1, 3).astype(float) for extreme in (rows.min(0), rows.max(0)))
    low, high = low.min(0), high.max(0)
    stretched = (LEVELS[:, None] - low) * (255 / np.maximum(high - low, 1))
    return _map(image, np.where(high > low, stretched, LEVELS[:, None]))


def _equalize(image: np.ndarray, strength: float) -> np.ndarray:
    histograms = [cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel() for channel in range(3)]
    return _map(image, np.stack([_equalizing(histogram) for histogram in histograms], 1))


def _equalizing(histogram: np.ndarray) -> np.ndarray:
    """The levels that spread a channel's values evenly, as Pillow rounds them; not OpenCV's, which differ."""
    step = (histogram.sum() - histogram[histogram > 0][-1]) // 255
    if not step:
        return LEVELS
    levels: np.ndarray = (step // 2 + np.cumsum(histogram) - histogram) // step
    return levels


OPERATIONS: tuple[Operation, ...] = (
    lambda image, strength: image,
    lambda image, strength: _warp(image, _affine(1, 0.99 * strength, 0, 0, 1, 0)),
    lambda image, strength: _warp(image, _affine(1, 0, 0, 0.99 * strength, 1, 0)),
    lambda image, strength: _warp(image, _affine(1, 0, 32 * strength * image.shape[1] / 224, 0, 1, 0)),
    lambda image, strength: _warp(image, _affine(1, 0, 0, 0, 1, 32 * strength * image.shape[0] / 224)),
    _rotate,
    _brightness,
    _color,
    _contrast,
    _sharpness,
    _posterize,
    _solarize,
    _autocontrast,
    _equalize,
)
IDENTITY = 0
