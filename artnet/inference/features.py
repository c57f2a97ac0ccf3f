"""The features of a complete run's network: what its heads see of each painting."""

import numpy as np
import torch

from ..data.dataset import SplitData
from ..data.loader import load
from ..data.sampler import eval_batches
from ..distributed.ranks import Ranks
from .forward import PixelNetwork, on_device, precision_on
from .trained import TrainedRun


@torch.inference_mode()
def features(trained: TrainedRun, data: SplitData, ranks: Ranks) -> np.ndarray:
    """The features of a split's paintings as they are evaluated, in its order, float32 (n, channels)."""
    config = trained.config
    batches = eval_batches(len(data), config.train.batch_size, 0, 1)
    threads = config.data.threads or ranks.threads
    precision = precision_on(ranks.device, config.train.precision)
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    found = []
    for batch in on_device(load(data, data.plan(0), batches, threads, ranks.pinned_bytes), ranks.device):
        with torch.autocast(ranks.device.type, dtype, enabled=precision != "fp32"):
            own = _features(trained.network, batch.images)
            if config.eval.flip:
                own = (own + _features(trained.network, batch.images.flip(2))) / 2
        found.append(own.cpu())
    return torch.cat(found).numpy()


def _features(network: PixelNetwork, pixels: torch.Tensor) -> torch.Tensor:
    images = (pixels.permute(0, 3, 1, 2).float() - network.mean) / network.std
    found: torch.Tensor = network.network.features(images)  # type: ignore[operator]
    return found.float()
