"""Any pictures as a run sees them: read, converted as the packer converts them, and cropped as in evaluation."""

import os
import sys
import warnings
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Self

import cv2
import numpy as np
import simplejpeg
import torch

from shards.errors import UserError
from shards.files import open_regular
from shards.images import UnreadableImageError, to_pixels
from shards.pictures import find_files, is_picture

from ..data.decode import resized_crop
from ..data.epoch import eval_plan
from ..predictions import Origin

STDIN = Path("-")
MAX_BYTES = 1_000_000_000  # of a file
AHEAD = 2  # batches that are read ahead
PACKED = (256, 90)  # the packer's default short side in pixels and quality, for shards that do not say theirs


@dataclass(frozen=True)
class View:
    """How a run sees a picture: as a packed JPEG of a `short_side` in pixels and a `quality`, cropped to `size`."""

    short_side: int
    quality: int
    size: int

    @classmethod
    def of(cls, origin: Origin) -> Self:
        """The view of the run that these predictions are of."""
        return cls(origin.short_side or PACKED[0], origin.quality or PACKED[1], origin.protocol.size)


@dataclass(frozen=True)
class Picture:
    """A picture that could be read. `views` are uint8 (size, size, 3), RGB; `thumbnail` is a JPEG, or empty."""

    file: Path
    views: tuple[np.ndarray, ...]
    thumbnail: bytes


@dataclass(frozen=True)
class Failure:
    """A picture that could not be read, and why."""

    file: Path
    reason: str


@dataclass(frozen=True)
class PictureBatch:
    """Pictures in the order of their files, and those up to there that could not be read.

    `images` has a tensor uint8 (n, size, size, 3) for each view.
    """

    pictures: list[Picture]
    failures: list[Failure]

    @property
    def images(self) -> tuple[torch.Tensor, ...]:
        """The pictures of each view, as the network takes them."""
        views = zip(*(picture.views for picture in self.pictures), strict=True)
        return tuple(torch.from_numpy(np.stack(images)) for images in views)


def find_pictures(paths: Iterable[Path]) -> tuple[list[Path], Counter[str]]:
    """The files to read, each once: `paths` themselves, and for a folder all pictures below it, by their names.

    Also returns how many files of folders have another suffix, by suffix. `STDIN` stands for standard input. Raises
    `UserError` for a folder without pictures.
    """
    found, others = [], Counter[str]()
    for path in paths:
        if path == STDIN or not path.is_dir():
            found.append(path)
            continue
        files = find_files(path)
        pictures = [path / file for file in files if is_picture(file)]
        if not pictures:
            raise UserError(f"{path} holds no picture; give files, or a folder of pictures")
        found += pictures
        others.update(PurePosixPath(file).suffix.lower() or "no suffix" for file in files if not is_picture(file))
    return list(dict.fromkeys(found)), others


def load_pictures(
    files: Iterable[Path], views: Sequence[View], batch_size: int, threads: int, thumbnail: int = 0
) -> Iterator[PictureBatch]:
    """Read pictures in `threads`, a few ahead, and yield batches of `batch_size` that could be read, in order.

    `views` are at least one. With `thumbnail`, each picture has one of at most so many pixels a side.
    """
    read = partial(_read_picture, views=views, thumbnail=thumbnail)
    remaining = iter(files)
    # Each thread sets filters of warnings for all threads while it converts: with these around, none is ever shown.
    with warnings.catch_warnings(), ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        warnings.simplefilter("ignore")
        waiting: deque[Future[Picture | Failure]] = deque()
        try:
            pictures: list[Picture] = []
            failures: list[Failure] = []
            while True:
                wanted = AHEAD * batch_size + threads - len(waiting)
                waiting.extend(pool.submit(read, file) for file in islice(remaining, wanted))
                if not waiting:
                    break
                one = waiting.popleft().result()
                if isinstance(one, Failure):
                    failures.append(one)
                else:
                    pictures.append(one)
                if len(pictures) == batch_size:
                    yield PictureBatch(pictures, failures)
                    pictures, failures = [], []
            if pictures or failures:
                yield PictureBatch(pictures, failures)
        finally:
            for future in waiting:
                future.cancel()


def _read_picture(file: Path, views: Sequence[View], thumbnail: int) -> Picture | Failure:
    try:
        data = _bytes_of(file)
        kinds = dict.fromkeys((view.short_side, view.quality) for view in views)
        packed = {kind: to_pixels(data, *kind) for kind in kinds}
    except OSError as error:
        return Failure(file, error.strerror or str(error))
    except (UnreadableImageError, ValueError, MemoryError) as error:
        return Failure(file, " ".join(str(error).split()) or type(error).__name__)
    seen = tuple(_cropped(packed[view.short_side, view.quality], view.size) for view in views)
    return Picture(file, seen, _thumbnail(next(iter(packed.values())), thumbnail) if thumbnail else b"")


def _bytes_of(file: Path) -> bytes:
    """The bytes of a file or of standard input. Raises `OSError` if they cannot be read, or are too many."""
    if file == STDIN:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with open_regular(file) as opened:
            if os.fstat(opened.fileno()).st_size > MAX_BYTES:
                raise OSError(f"it has over {MAX_BYTES:,} bytes")
            data = opened.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise OSError(f"it has over {MAX_BYTES:,} bytes")
    return data


def _cropped(pixels: np.ndarray, size: int) -> np.ndarray:
    """The crop of an evaluation, uint8 (size, size, 3)."""
    height, width, _ = pixels.shape
    plan = eval_plan(np.array([[width, height]]), size)
    out = np.empty((size, size, 3), np.uint8)
    resized_crop(pixels, plan.boxes[0], False, out)
    return out


def _thumbnail(pixels: np.ndarray, side: int) -> bytes:
    """The whole picture as a JPEG of at most `side` pixels a side."""
    height, width, _ = pixels.shape
    scale = min(1.0, side / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    jpeg: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(small), quality=80, colorsubsampling="420")
    return jpeg
