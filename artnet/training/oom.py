"""Out-of-memory errors: explaining them, and choosing a larger `train.accumulate`."""

import gc
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..config import RunConfig
from ..distributed.ranks import Ranks
from ..errors import OutOfMemoryError


def can_retry(device: torch.device) -> bool:
    """Free the cached memory; return whether the device still computes, as it does not after some errors of CUDA."""
    gc.collect()
    if device.type == "cuda":
        try:
            torch.cuda.empty_cache()
            torch.ones((), device=device).item()
        except RuntimeError:
            return False
    return True


def accumulate_for(config: RunConfig, ranks: Ranks, attempts: Sequence[Mapping[str, Any]], automatic: bool) -> int:
    """The number of parts for gradient accumulation: `train.accumulate`, or more if `automatic`. Pure.

    If `automatic`, it is the maximum over earlier attempts, doubled if the last one ran out of memory.
    """
    configured = config.train.accumulate
    if not automatic or not attempts:
        return configured
    used = max(configured, *(attempt.get("accumulate", 1) for attempt in attempts))
    ran_out = OutOfMemoryError.__name__ in attempts[-1].get("outcome", "")
    return (doubled(used, config, ranks) if ran_out else None) or min(used, _local(config, ranks))


def doubled(accumulate: int, config: RunConfig, ranks: Ranks) -> int | None:
    """Twice as many parts, or the next larger number that divides a rank's batch; None if there is none."""
    local = _local(config, ranks)
    return next((parts for parts in range(2 * accumulate, local + 1) if local % parts == 0), None)


def explain(error: BaseException, config: RunConfig, ranks: Ranks, accumulate: int) -> OutOfMemoryError:
    """Describe a failed allocation: the settings in use and those to try. Frees the memory of the failed step."""
    traceback.clear_frames(error.__traceback__)  # they reference the batch and its activations
    batch, local = config.train.batch_size, _local(config, ranks)
    part = f" in {accumulate} parts" if accumulate > 1 else ""
    more = doubled(accumulate, config, ranks)
    tries = [
        f"train.accumulate {more} (--auto-accumulate finds it)" if more else "",
        f"train.batch_size {batch // 2}" if batch >= 2 * ranks.world_size else "",
        f"data.size below {config.data.size}",
    ]
    return OutOfMemoryError(
        f"out of memory on {ranks.device} with {local} paintings of {config.data.size} pixels a rank{part} "
        f"(train.batch_size {batch}, train.accumulate {accumulate}); try {' or '.join(filter(None, tries))}"
    )


def _local(config: RunConfig, ranks: Ranks) -> int:
    return max(1, config.train.batch_size // ranks.world_size)
