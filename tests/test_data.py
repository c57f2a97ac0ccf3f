"""artnet/data: what a decoder and a crop make of a painting is what Pillow makes of it."""

import io

import numpy as np
import pytest
from PIL import Image

from artnet.config import AugmentConfig
from artnet.data.augment import eval_view, train_view
from artnet.data.decode import decode, resized_crop
from shards.index import read_index
from shards.reader import Reader


def psnr(got: np.ndarray, wanted: np.ndarray) -> float:
    """Peak signal-to-noise ratio of 8-bit pixels, dB."""
    return float(10 * np.log10(255**2 / max(1e-9, ((got.astype(float) - wanted) ** 2).mean())))


@pytest.mark.parametrize("size", [33, 64, 80, 160])  # shrinks much, shrinks, about keeps, enlarges
def test_crops_are_pillows_antialiased_ones(shards, size):
    reader = Reader(read_index(shards))
    for row in range(0, 200, 10):
        jpeg = reader[row]
        with Image.open(io.BytesIO(jpeg)) as image:
            box = (7, 5, 7 + 81, 5 + 85)
            wanted = np.asarray(image.crop(box).resize((size, size), Image.Resampling.BILINEAR))
        assert psnr(resized_crop(decode(jpeg), box, size), wanted) > 45


def test_a_jpeg_that_is_not_whole_is_refused(shards):
    jpeg = Reader(read_index(shards))[0]
    for broken in (jpeg[: len(jpeg) // 2], b"", b"\0" * 100):
        with pytest.raises(ValueError, match=r"\S"):
            decode(broken)


def test_a_crop_stays_inside_and_a_flip_mirrors():
    pixels = np.arange(90 * 60 * 3, dtype=np.uint32).reshape(60, 90, 3).astype(np.uint8)
    whole = AugmentConfig(policy="none", crop_scale=1, flip=0)
    views = [train_view(pixels, 60, whole.model_copy(update={"flip": p}), np.random.default_rng(1)) for p in (0, 1)]
    assert np.array_equal(views[0], views[1][:, ::-1])
    assert np.array_equal(eval_view(pixels, 52), pixels[4:56, 19:71])
