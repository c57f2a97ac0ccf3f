"""Decode images, and crop and resize them to squares. All functions release the GIL while they work."""

import cv2
import numpy as np
import simplejpeg
import torch
from torch.nn import functional as F

from shards.index import MAX_PIXELS

cv2.setNumThreads(1)  # the loader has its own threads, one batch each


def decode(
    jpeg: bytes | memoryview, scratch: np.ndarray | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Decode a packed image to uint8 (height, width, 3), RGB.

    Raises `ValueError` if it is not a complete JPEG, and before memory is allocated if it is larger than packed images
    are, or if its width and height are not the `size` that is known of it.

    With `scratch`, uint8 with at least that many elements, the image is a view of it: allocating memory for every
    image would take a tenth of the time.
    """
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    except KeyError as error:
        raise ValueError(f"its chroma subsampling, {error}, is not that of a packed image") from None
    if size not in (None, (width, height)):
        raise ValueError(f"it has {width} x {height} pixels, not {size[0]} x {size[1]} as in the index")
    if width * height > MAX_PIXELS:
        raise ValueError(f"it has {width} x {height} pixels, over {MAX_PIXELS:,}")
    pixels: np.ndarray = simplejpeg.decode_jpeg(jpeg, strict=True, buffer=scratch)
    return pixels


def resized_crop(pixels: np.ndarray, box: np.ndarray, flip: bool, out: np.ndarray) -> None:
    """Crop an image, uint8 (height, width, 3), to `box`, resize it and write it to `out`, uint8 (size, size, 3).

    `box` is left, top, right, bottom in pixels; `flip` mirrors the crop horizontally. Interpolation is bilinear, and
    antialiased when the crop is reduced. An enlarged crop needs no antialiasing, and OpenCV is several times as fast
    without it.
    """
    left, top, right, bottom = box
    crop = pixels[top:bottom, left:right]
    size = out.shape[0]
    if max(crop.shape) <= size:
        resized = cv2.resize(crop, (size, size), dst=None if flip else out, interpolation=cv2.INTER_LINEAR)
    else:
        # Torch would copy the crop with a team of OpenMP threads for every decoding thread, up to 20 times slower.
        whole = np.ascontiguousarray(crop)
        # In this order of calls torch finds a channels-last tensor and keeps that format.
        batch = torch.from_numpy(whole)[None].permute(0, 3, 1, 2)
        resized = F.interpolate(batch, (size, size), mode="bilinear", antialias=True).permute(0, 2, 3, 1)[0].numpy()
    if flip:
        cv2.flip(resized, 1, dst=out)
    elif resized is not out:
        out[:] = resized
