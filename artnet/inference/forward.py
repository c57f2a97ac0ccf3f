"""From a uint8 batch to logits: what happens on the device."""

import functools
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from ..data.loader import Batch

# Statistics of ImageNet in 0..255, the customary normalisation: pretrained weights expect it.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches on the device; on a GPU, the next is copied while the program works on the one before."""
    if device.type != "cuda":
        yield from batches
        return
    copying = torch.cuda.Stream(device)
    ahead: Batch | None = None
    for batch in batches:
        with torch.cuda.stream(copying):
            copied = Batch(batch.images.to(device, non_blocking=True), batch.labels.to(device, non_blocking=True))
        if ahead:
            yield ahead
        torch.cuda.current_stream(device).wait_stream(copying)
        for tensor in (copied.images, copied.labels):
            tensor.record_stream(torch.cuda.current_stream(device))  # or its memory could be given away too early
        ahead = copied
    if ahead:
        yield ahead


def normalised(images: torch.Tensor) -> torch.Tensor:
    """Pixels of 0 to 255, (n, size, size, 3), as normalised float32 (n, 3, size, size), channels last in memory."""
    mean, std = _statistics(images.device)
    return (images.permute(0, 3, 1, 2).float() - mean) / std


@functools.cache  # sending them again would make every step wait for the GPU
def _statistics(device: torch.device) -> list[torch.Tensor]:
    with torch.inference_mode(False):  # training uses them too
        return [torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD)]


def precision_on(device: torch.device, precision: str) -> str:
    """The arithmetic that a wanted `precision` means on a device: a CPU computes in fp32 always."""
    return precision if device.type == "cuda" else "fp32"


def allow_fast_kernels() -> None:
    """Let GPUs multiply float32 with the 10 bits of TF32, and look for the quickest kernel of each convolution."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def forward(model: nn.Module, images: torch.Tensor, precision: str) -> dict[str, torch.Tensor]:
    """The logits of each head for images (n, size, size, 3) of 0 to 255, computed as `precision_on` says."""
    precision = precision_on(images.device, precision)
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    with torch.autocast(images.device.type, dtype, enabled=precision != "fp32"):
        logits: dict[str, torch.Tensor] = model(normalised(images))
    return logits
