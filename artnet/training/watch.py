"""What a training costs while it goes on: images per second, time lost waiting for data, memory."""

import resource
import sys
import time
from collections.abc import Iterable, Iterator

import torch

from ..data.loader import Batch


class Watch:
    """Measures this rank between two laps. `batch_size` counts the samples of all ranks together."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._batch_size, self._device = batch_size, device
        self._begin()

    def _begin(self) -> None:
        self._started = time.monotonic()
        self._waited = 0.0
        self._batches = 0

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches, while the time that their reader waits for each is counted."""
        remaining = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(remaining, None)
            self._waited += time.monotonic() - asked
            if batch is None:
                return
            self._batches += 1
            yield batch

    def lap(self) -> dict[str, float]:
        """What was measured since the last lap: images/s, `data_wait` as a share of the time, memory in GiB."""
        seconds = time.monotonic() - self._started
        measured = {
            "images_per_s": round(self._batch_size * self._batches / seconds, 1),
            "data_wait": round(self._waited / seconds, 4),
            "memory_gib": round(peak_memory(self._device) / 2**30, 3),
        }
        self._begin()
        return measured


def peak_memory(device: torch.device) -> int:
    """The most memory that tensors took on a GPU, or that the process took on a CPU, so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
