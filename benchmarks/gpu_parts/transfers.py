"""Part 8: batches arrive on the device as they were made, while the device is busy and buffers are reused."""

import importlib
import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch

from .report import Record
from .setting import Setting

DECODERS = ("simplejpeg", "cv2")


def numbered_batches(setting: Setting, record: Record) -> None:
    """200 batches of numbered images through `load` and `on_device`, under load: every image is where it belongs."""
    for name in DECODERS:  # nothing is decoded here
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = mock.MagicMock()
    from artnet.data import loader
    from artnet.inference.forward import on_device

    count, n, size, threads = (20, 4, 33, 2) if setting.rehearse else (200, 128, 224, 12)
    positions = np.arange(count * n)
    data: Any = numbered(count * n, size)
    plan: Any = SimpleNamespace(
        order=positions,
        boxes=np.tile([0, 0, size, size], (count * n, 1)),
        flips=np.zeros(count * n, bool),
        operations=np.full(count * n, loader.IDENTITY),
        strengths=np.zeros(count * n),
        erased=np.zeros((count * n, 4), np.int64),
        size=size,
    )
    work = torch.randn(64 if setting.rehearse else 6144, device=setting.device).expand(1, -1)
    square = work.T @ work
    expected = torch.from_numpy(positions).to(setting.device).view(count, n)
    wrong = torch.zeros((), dtype=torch.int64, device=setting.device)
    arrived = 0
    with mock.patch.object(loader, "resized_crop", paint):
        loaded = loader.load(data, plan, np.split(positions, count), threads, setting.pinned)
        for number, batch in enumerate(on_device(loaded, setting.device)):
            for _ in range(3):  # the device falls behind, so that buffers are reused as early as they ever are
                square = (square @ square).clamp(-1, 1)
            wrong += misplaced(batch.images, batch.labels[:, 0], expected[number])
            arrived += 1
    record.figure("batches", arrived)
    record.figure("images that did not arrive as they were made", int(wrong))
    record.check(arrived == count, f"{arrived} of {count} batches arrived")
    record.check(int(wrong) == 0, f"{int(wrong)} of {count * n} images are not those that were loaded")
    setting.needs_gpu()


def numbered(count: int, size: int) -> SimpleNamespace:
    """Stands for a split of `count` images: the label of each is its number, and its pixels hold it."""

    def pixels(sample: int, scratch: np.ndarray) -> np.ndarray:
        return np.array([[[sample & 255, sample >> 8 & 255, 255 - (sample & 255)]]], np.uint8)

    return SimpleNamespace(
        pixels=pixels,
        labels=np.arange(count)[:, None],
        most_pixels=size * size,
        sizes=np.full((count, 2), size),
        is_train=True,
        has_too_much_damage=False,
    )


def paint(pixels: np.ndarray, box: np.ndarray, flip: bool, out: np.ndarray) -> None:
    """Replaces `resized_crop`: fill the view with the image's only pixel."""
    out[:] = pixels[0, 0]


def misplaced(images: torch.Tensor, labels: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """How many images, (n, size, size, 3), or labels are not those of the numbers `expected`, (n,). A scalar."""
    pixels = torch.stack((expected & 255, expected >> 8 & 255, 255 - (expected & 255)), 1).to(torch.uint8)
    intact = (images == pixels[:, None, None]).flatten(1).all(1) & (labels == expected)
    return (~intact).sum()
