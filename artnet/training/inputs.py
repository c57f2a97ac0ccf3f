"""From a uint8 batch to logits: what happens on the device."""

import torch
from torch import nn

from ..data.loader import Batch

# Statistics of ImageNet in 0..255, the customary normalisation: pretrained weights expect it.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def to_device(batch: Batch, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Move a batch to the device; the images become normalised float32 (n, 3, size, size), channels last in memory."""
    images = batch.images.to(device, non_blocking=True).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (images - mean) / std, batch.labels.to(device, non_blocking=True)


def forward(model: nn.Module, images: torch.Tensor, precision: str) -> dict[str, torch.Tensor]:
    """The logits of each head, computed in `precision` (`fp32` or `bf16`)."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: dict[str, torch.Tensor] = model(images)
    return logits
