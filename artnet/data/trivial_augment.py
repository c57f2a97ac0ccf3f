"""TrivialAugment Wide (Müller and Hutter, ICCV 2021) for paintings: one operation with a random strength. Pure.

Ranges are those of the paper's "wide" space and arithmetic is Pillow's, but hues are nearly preserved, because colour
is informative of style and artist. On WikiArt the paper's operations shift hues by up to 10 degrees on average over
strengths (weighted by chroma, in CIELAB), except equalize by 51, autocontrast by 17 and solarize by 105. So equalize
and autocontrast apply one mapping, computed from the luma, to all three channels, which shifts hues by 8 and 1
degrees; and solarize, which makes a negative, is left out. Whether this improves accuracy has not been measured.

OpenCV releases the GIL. Each operation takes uint8 (size, size, 3) and a signed strength from -1 to 1.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

GREY = (124, 116, 104)  # the ImageNet mean, zero after normalisation; fills the corners and erased boxes
LUMA = np.array([[0.299, 0.587, 0.114]])  # ITU-R 601-2, the weights of Pillow's conversion to grey
LEVELS = np.arange(256.0)

Operation = Callable[[np.ndarray, float], np.ndarray]


def _warp(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Take every pixel (x, y) from `matrix` (2, 3) times (x, y, 1); coordinates start at the image's corner."""
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
    """Replace each value by its entry in `levels`, (256,), clipped to 0..255."""
    return cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8))


def _brightness(image: np.ndarray, strength: float) -> np.ndarray:
    return cv2.convertScaleAbs(image, alpha=1 + 0.99 * strength)


def _color(image: np.ndarray, strength: float) -> np.ndarray:
    factor = 1 + 0.99 * strength
    return cv2.transform(image, factor * np.eye(3) + (1 - factor) * LUMA.repeat(3, 0))


def _contrast(image: np.ndarray, strength: float) -> np.ndarray:
    mean = round(float(LUMA[0] @ cv2.mean(image)[:3]))
    return _map(image, mean + (LEVELS - mean) * (1 + 0.99 * strength))


def _sharpness(image: np.ndarray, strength: float) -> np.ndarray:
    # Pillow's smoothing kernel is 3 x 3 ones with a 5 in the centre: 4 times the image plus 9 times the box mean.
    rest = -0.99 * strength
    mean = cv2.blur(image, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return cv2.addWeighted(image, 1 - rest + rest * 4 / 13, mean, rest * 9 / 13, 0)


def _posterize(image: np.ndarray, strength: float) -> np.ndarray:
    return image & np.uint8(256 - 2 ** round(6 * abs(strength)))


def _autocontrast(image: np.ndarray, strength: float) -> np.ndarray:
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    low, high = int(luma.min()), int(luma.max())
    return _map(image, (LEVELS - low) * (255 / (high - low))) if high > low else image


def _equalize(image: np.ndarray, strength: float) -> np.ndarray:
    histogram = cv2.calcHist([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)], [0], None, [256], [0, 256]).ravel()
    step = (histogram.sum() - histogram[histogram > 0][-1]) // 255
    # Rounded as in Pillow; OpenCV's equalizeHist differs.
    return _map(image, (step // 2 + np.cumsum(histogram) - histogram) // step) if step else image


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
    _autocontrast,
    _equalize,
)
IDENTITY = 0
