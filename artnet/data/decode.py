"""Encoded bytes to pixels, and pixels to a square of the wanted size. Both let other threads run meanwhile."""

import cv2
import numpy as np
import simplejpeg
import torch
from torch.nn import functional as F

Box = tuple[int, int, int, int]  # left, top, right, bottom, pixels

cv2.setNumThreads(1)  # the loader has its own threads: one image each


def decode(jpeg: bytes) -> np.ndarray:
    """A packed image as uint8 (height, width, 3), RGB. Raises `ValueError` for bytes that are no whole JPEG."""
    pixels: np.ndarray = simplejpeg.decode_jpeg(jpeg, strict=True)
    return pixels


def resized_crop(pixels: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The part of an image in `box`, uint8 (size, size, 3), bilinear; antialiased where it shrinks.

    Where it is enlarged there is nothing to antialias, and OpenCV is twice as fast as what does.
    """
    left, top, right, bottom = box
    crop = pixels[top:bottom, left:right]
    if crop.shape[0] <= size and crop.shape[1] <= size:
        return cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
    channels_first = torch.from_numpy(crop).permute(2, 0, 1)[None]
    resized = F.interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
    view: np.ndarray = resized[0].permute(1, 2, 0).numpy()
    return view
