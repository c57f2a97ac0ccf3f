"""From a uint8 batch to logits: copying to the device, normalisation and the forward pass."""

import functools
from collections.abc import Iterable, Iterator

import torch
from torch import nn

from ..data.batch import Batch

# Mean and standard deviation of ImageNet in 0..255, the usual normalisation, which pretrained weights expect.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """Copy batches to the device. On a GPU, the next batch is copied while the caller works on the current one."""
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
            tensor.record_stream(torch.cuda.current_stream(device))  # or its memory could be reused too early
        ahead = copied
    if ahead:
        yield ahead


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Normalise pixels of 0 to 255, (n, size, size, 3), to float32 (n, 3, size, size), channels last in memory."""
    mean, std = _statistics(images.device)
    return (images.permute(0, 3, 1, 2).float() - mean) / std


@functools.cache  # copying them at every step would make it wait for the GPU
def _statistics(device: torch.device) -> list[torch.Tensor]:
    with torch.inference_mode(False):  # training needs them too
        return [torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD)]


def precision_on(device: torch.device, precision: str) -> str:
    """The precision used on a device where `precision` is configured: CPUs always compute in fp32."""
    return precision if device.type == "cuda" else "fp32"


def allow_fast_kernels() -> None:
    """Enable TF32, with a mantissa of 10 bits, and cuDNN's search for the fastest kernels on GPUs."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def forward(model: nn.Module, images: torch.Tensor, precision: str) -> dict[str, torch.Tensor]:
    """The logits (n, classes) of each head for images (n, size, size, 3) of 0 to 255, in `precision_on`'s precision."""
    precision = precision_on(images.device, precision)
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    with torch.autocast(images.device.type, dtype, enabled=precision != "fp32"):
        logits: dict[str, torch.Tensor] = model(normalise(images))
    return logits
