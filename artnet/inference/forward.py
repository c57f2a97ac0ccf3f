"""From a uint8 batch to logits: copying to the device, normalisation and the forward pass."""

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


class PixelNetwork(nn.Module):
    """A network on pixels: images (n, size, size, 3) of 0 to 255, normalised to float32, channels last in memory.

    The normalisation is a part of the module, so that it is compiled together with the network.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        device = next(network.parameters()).device
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values, device=device).view(1, 3, 1, 1), persistent=False)

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """The input of the network, float32 (n, 3, size, size)."""
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        logits: dict[str, torch.Tensor] = self.network(self.normalised(pixels))
        return logits


def precision_on(device: torch.device, precision: str) -> str:
    """The precision used on a device where `precision` is configured: CPUs always compute in fp32."""
    return precision if device.type == "cuda" else "fp32"


def precision_warning(device: torch.device, precision: str) -> str:
    """A sentence if the GPU computes `precision` by emulation, slowly; empty if not."""
    if precision_on(device, precision) != "bf16" or torch.cuda.is_bf16_supported(including_emulation=False):
        return ""
    name = torch.cuda.get_device_name(device)
    return f"warning: {name} emulates bf16, which is slow; with train.precision: fp16 it is several times faster"


def allow_fast_kernels() -> None:
    """Enable TF32, with a mantissa of 10 bits, and cuDNN's search for the fastest kernels on GPUs."""
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def forward(network: nn.Module, pixels: torch.Tensor, precision: str) -> dict[str, torch.Tensor]:
    """The logits (n, classes) of each head of a `PixelNetwork`, which may be wrapped, in `precision_on`'s precision."""
    precision = precision_on(pixels.device, precision)
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    with torch.autocast(pixels.device.type, dtype, enabled=precision != "fp32"):
        logits: dict[str, torch.Tensor] = network(pixels)
    return logits
