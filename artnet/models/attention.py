"""Attention on the output of a residual branch: SE, ECA and CBAM.

Every module maps (N, C, H, W) to the same shape, scaled by factors in (0, 1): one per channel, or one per position in
the spatial half of CBAM. `start_neutral()` sets the parameters so that everything is scaled by one constant, a power
of two, and returns the constant: the preceding layer can compensate for it exactly.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mean(x: Tensor) -> Tensor:
    """Average over positions, (N, C, H, W) to (N, C).

    Faster than `x.mean`, by a tenth of SE's time: the gradient of a sum is a view, that of a mean a tensor as large
    as x.
    """
    # The sum may overflow in half precision.
    total = x.sum((2, 3), dtype=torch.promote_types(x.dtype, torch.float32))
    return (total / (x.shape[2] * x.shape[3])).to(x.dtype)


class SE(nn.Module):
    """Squeeze-and-Excitation (Hu, Shen and Sun, CVPR 2018): a small network weights the channels.

    `channels` is C, `reduction` the ratio of C to the bottleneck's width.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, channels // reduction, bias=False)
        self.expand = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scale = mean(x)
        scale = self.expand(F.relu(self.reduce(scale), inplace=True))
        return x * torch.sigmoid(scale)[:, :, None, None]

    @torch.no_grad()
    def start_neutral(self) -> float:
        self.expand.weight.zero_()
        return 0.5


class ECA(nn.Module):
    """Efficient Channel Attention (Wang et al., CVPR 2020): each channel is weighted by its neighbours.

    All channels share one filter. Its length grows with the logarithm of `channels`, which is C, by the formula of the
    paper with gamma = 2 and b = 1. There is no bottleneck, so `reduction` has no effect.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        length = int((math.log2(channels) + 1) / 2)
        kernel_size = length if length % 2 else length + 1
        self.conv = nn.Conv1d(1, 1, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.conv(mean(x).unsqueeze(1)).squeeze(1)
        return x * torch.sigmoid(scale)[:, :, None, None]

    @torch.no_grad()
    def start_neutral(self) -> float:
        self.conv.weight.zero_()
        return 0.5


class ChannelGate(nn.Module):
    """The channel half of CBAM: the bottleneck of SE, with biases, shared by the mean and the maximum.

    `channels` is C, `reduction` the ratio of C to the bottleneck's width.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, channels // reduction)
        self.expand = nn.Linear(channels // reduction, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = self._mlp(mean(x)) + self._mlp(x.flatten(2).max(2).values)
        return x * torch.sigmoid(scale)[:, :, None, None]

    def _mlp(self, pooled: Tensor) -> Tensor:
        scale: Tensor = self.expand(F.relu(self.reduce(pooled), inplace=True))
        return scale

    @torch.no_grad()
    def start_neutral(self) -> float:
        self.expand.weight.zero_()
        self.expand.bias.zero_()
        return 0.5


class SpatialGate(nn.Module):
    """The spatial half of CBAM: each position is weighted by the channel-wise maximum and mean in its neighbourhood."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)
        # The gate starts with the same factor at all positions, as in the published implementation.
        nn.init.zeros_(self.bn.weight)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat((x.max(1, keepdim=True).values, x.mean(1, keepdim=True)), dim=1)
        return x * torch.sigmoid(self.bn(self.conv(pooled)))

    @torch.no_grad()
    def start_neutral(self) -> float:
        self.bn.weight.zero_()
        self.bn.bias.zero_()
        return 0.5


class CBAM(nn.Sequential):
    """Convolutional Block Attention Module (Woo et al., ECCV 2018): channel attention, then spatial attention.

    `channels` is C, `reduction` the ratio of C to the width of the channel half's bottleneck.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.channel = ChannelGate(channels, reduction)
        self.spatial = SpatialGate()

    def start_neutral(self) -> float:
        return self.channel.start_neutral() * self.spatial.start_neutral()
