"""Encoded bytes to pixels, and pixels to a square of the wanted size. All of it lets other threads run meanwhile."""

import cv2
import numpy as np
import simplejpeg
import torch
from torch.nn import functional as F

cv2.setNumThreads(1)  # the loader has its own threads: one batch each


def decode(jpeg: bytes | memoryview, scratch: np.ndarray | None = None) -> np.ndarray:
    """A packed image as uint8 (height, width, 3), RGB. Raises `ValueError` for bytes that are no whole JPEG.

    With `scratch`, uint8 of at least that many elements, the image is a view of it: memory that is fresh for every
    image costs a tenth of the time.
    """
    pixels: np.ndarray = simplejpeg.decode_jpeg(jpeg, strict=True, buffer=scratch)
    return pixels


def resized_crop(pixels: np.ndarray, box: np.ndarray, flip: bool, out: np.ndarray) -> None:
    """Write the part of an image in `box` (left, top, right, bottom), mirrored if `flip`, to `out` (size, size, 3).

    Bilinear, and antialiased where it shrinks. Where it is enlarged there is nothing to antialias, and OpenCV is
    several times as fast as what does.
    """
    left, top, right, bottom = box
    crop = pixels[top:bottom, left:right]
    size = out.shape[0]
    if max(crop.shape) <= size:
        resized = cv2.resize(crop, (size, size), dst=None if flip else out, interpolation=cv2.INTER_LINEAR)
    else:
        # In this order of calls torch sees channels that are last, and leaves them there.
        batch = torch.from_numpy(crop)[None].permute(0, 3, 1, 2)
        resized = F.interpolate(batch, (size, size), mode="bilinear", antialias=True).permute(0, 2, 3, 1)[0].numpy()
    if flip:
        cv2.flip(resized, 1, dst=out)
    elif resized is not out:
        out[:] = resized
