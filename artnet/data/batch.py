"""A batch of views. Apart from the loader, so that training steps import no image decoder."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Batch:
    """A batch: `images` uint8 (n, size, size, 3), RGB; `labels` int64 (n, tasks), -1 = unlabelled."""

    images: torch.Tensor
    labels: torch.Tensor
