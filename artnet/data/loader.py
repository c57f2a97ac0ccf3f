"""Load batches of views, decoded ahead by threads."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from shards.tasks import UNLABELLED

from .batch import Batch
from .dataset import SplitData
from .decode import resized_crop
from .epoch import EpochPlan
from .trivial_augment import GREY, IDENTITY, OPERATIONS

PREFETCH = 4  # batches in flight in addition to one per thread
TAKEN = 2  # batches that are no longer in flight, but still being copied to a GPU


def load(
    data: SplitData, plan: EpochPlan, batches: Sequence[np.ndarray], threads: int, pinned_bytes: int = 0
) -> Iterator[Batch]:
    """Yield `batches`, each an array of positions in `plan`, in order; threads decode a few ahead, one batch each.

    Decoders release the GIL, so threads decode in parallel. With `pinned_bytes`, batches are in page-locked memory, at
    most this much where two batches need no more, for asynchronous copies to a GPU. The caller must check
    `data.has_too_much_damage`.
    """
    size = max(map(len, batches), default=0) * plan.size * plan.size * 3
    most = in_flight(threads, size, pinned_bytes)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        waiting: deque[Future[Batch]] = deque()
        remaining = iter(batches)
        try:
            while True:
                while len(waiting) < most and (positions := next(remaining, None)) is not None:
                    waiting.append(pool.submit(_batch, data, plan, positions, pinned_bytes > 0))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def in_flight(threads: int, batch_bytes: int, pinned_bytes: int) -> int:
    """How many batches to decode ahead: enough for all threads, but if they are pinned, at most `pinned_bytes`.

    Torch rounds each pinned batch up to a power of two. Two are always in flight.
    """
    wanted = threads + PREFETCH
    if not pinned_bytes:
        return wanted
    rounded = 1 << max(0, batch_bytes - 1).bit_length()
    return max(2, min(wanted, pinned_bytes // rounded - TAKEN))


def _batch(data: SplitData, plan: EpochPlan, positions: np.ndarray, pinned: bool) -> Batch:
    shape = (len(positions), plan.size, plan.size, 3)
    # NumPy uses huge pages where possible: allocating small ones takes a twentieth of the time.
    images = (
        torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        if pinned
        else torch.from_numpy(np.empty(shape, np.uint8))
    )
    scratch = np.empty(3 * data.most_pixels, np.uint8)
    labels = torch.full((len(positions), data.labels.shape[1]), UNLABELLED, dtype=torch.int64, pin_memory=pinned)
    known = labels.numpy()
    for place, (position, view) in enumerate(zip(positions.tolist(), images.numpy(), strict=True)):
        sample = _render(data, plan, position, scratch, view)
        if sample is not None:
            known[place] = data.labels[sample]
    return Batch(images, labels)


def _render(data: SplitData, plan: EpochPlan, position: int, scratch: np.ndarray, view: np.ndarray) -> int | None:
    """Write the view at a position of the plan to `view` and return its sample.

    In training, a damaged painting is replaced by the next one of the epoch. In val and test, where no painting may
    count twice, the view is black and the sample None; also in training once too many are damaged for it to continue.
    """
    sample = int(plan.order[position])
    pixels = data.pixels(sample, scratch)
    if pixels is None:
        if data.is_train and not data.has_too_much_damage:
            return _render(data, plan, (position + 1) % len(plan.order), scratch, view)
        view[:] = 0
        return None
    resized_crop(pixels, plan.boxes[position], bool(plan.flips[position]), view)
    if plan.operations[position] != IDENTITY:
        view[:] = OPERATIONS[plan.operations[position]](view, float(plan.strengths[position]))
    left, top, right, bottom = plan.erased[position]
    view[top:bottom, left:right] = GREY
    return sample
