"""ResNet with recurrence along its depth, attention in its blocks and one head per task.

The trunk has torchvision's structure and names (He et al., CVPR 2016, with the stride of a bottleneck at its 3x3
convolution): without recurrence and attention, weights can be exchanged with torchvision.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from artnet.models.recurrence import Cell, State

# Builds the attention of a block from the block's number of output channels.
Attention = Callable[[int], nn.Module]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution with padding and without bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


def conv_with_state(conv: nn.Conv2d, x: Tensor, h: Tensor | None) -> Tensor:
    """Compute `conv(cat(x, h))` for a convolution without bias. If h is None, it counts as zeros."""
    channels = x.shape[1]
    if h is None:
        weight = conv.weight if channels == conv.in_channels else conv.weight.narrow(1, 0, channels)
        return F.conv2d(x, weight, stride=conv.stride, padding=conv.padding)
    if conv.weight.numel() >= 1_000_000:
        # The last stage has more weights than activations: copying the split weights would cost more.
        return F.conv2d(torch.cat((x, h), dim=1), conv.weight, stride=conv.stride, padding=conv.padding)
    # A concatenation would keep a copy of x for the backward pass, a fifth of the activation memory.
    weight_x, weight_h = conv.weight.split((channels, h.shape[1]), dim=1)
    out = F.conv2d(x, weight_x, stride=conv.stride, padding=conv.padding)
    out += F.conv2d(h, weight_h, stride=conv.stride, padding=conv.padding)
    return out


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity if a block keeps the shape of its input, else a projection to the shape of its output."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(conv1x1(in_channels, out_channels, stride), nn.BatchNorm2d(out_channels))


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., ECCV 2016): in training, drops the branch of each sample with probability `p`.

    The remaining branches are scaled by 1 / (1 - `p`), so that the expected output does not change. torchvision's
    implementation takes a second to import.
    """

    p = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.p:
            return x
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(1 - self.p).div_(1 - self.p)


class BasicBlock(nn.Module):
    """A residual block of two 3x3 convolutions, with attention on the branch before the addition.

    `forward(x, h)` takes x (N, `in_channels`, H, W) and the state h (N, `state_channels`, H, W), which is concatenated
    to x for the first convolution; without recurrence h is None and `state_channels` is 0. It returns
    (N, `channels` * `expansion`, H / `stride`, W / `stride`), with H and W rounded up.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, state_channels: int, attention: Attention) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels + state_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.attention = attention(channels)
        self.drop_path = DropPath()
        self.downsample = shortcut(in_channels, channels, stride)
        # The residual branch starts at zero (Goyal et al., arXiv 1706.02677).
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        out = F.relu(self.bn1(conv_with_state(self.conv1, x, h)), inplace=True)
        out = self.drop_path(self.attention(self.bn2(self.conv2(out))))
        out += self.downsample(x)
        return F.relu(out, inplace=True)


class Bottleneck(nn.Module):
    """A residual block of a 3x3 convolution between two 1x1 convolutions; otherwise as `BasicBlock`."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, state_channels: int, attention: Attention) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = conv1x1(in_channels + state_channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = conv3x3(channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = conv1x1(channels, out_channels)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.attention = attention(out_channels)
        self.drop_path = DropPath()
        self.downsample = shortcut(in_channels, out_channels, stride)
        # As in BasicBlock.
        nn.init.zeros_(self.bn3.weight)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        out = F.relu(self.bn1(conv_with_state(self.conv1, x, h)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        out = self.drop_path(self.attention(self.bn3(self.conv3(out))))
        out += self.downsample(x)
        return F.relu(out, inplace=True)


class ResNet(nn.Module):
    """The network without recurrence: `forward` maps (N, 3, H, W) to {task: (N, classes) logits}.

    `depths` are the numbers of blocks in the four stages, and `classes` maps every task to its number of classes.
    `state_channels` is the number of channels that a recurrence adds to the inputs of every block and of the heads.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        attention: Attention,
        classes: Mapping[str, int],
        state_channels: int = 0,
    ) -> None:
        super().__init__()

        def layer(in_channels: int, channels: int, depth: int, stride: int) -> nn.Sequential:
            out_channels = channels * block.expansion
            return nn.Sequential(
                block(in_channels, channels, stride, state_channels, attention),
                *(block(out_channels, channels, 1, state_channels, attention) for _ in range(depth - 1)),
            )

        self.state_channels = state_channels
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = layer(64, 64, depths[0], stride=1)
        self.layer2 = layer(64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = layer(128 * block.expansion, 256, depths[2], stride=2)
        self.layer4 = layer(256 * block.expansion, 512, depths[3], stride=2)
        features = 512 * block.expansion + state_channels
        self.tasks = tuple(classes)
        self.heads = nn.ModuleDict({_head_name(task): nn.Linear(features, size) for task, size in classes.items()})
        _init_convs(self)

    def stem(self, x: Tensor) -> Tensor:
        """The layers before the first stage: (N, 3, H, W) to (N, 64, H / 4, W / 4), with H and W rounded up."""
        if x.device.type == "cpu":
            # Convolutions keep the memory format of their input, and are about a tenth faster in this one.
            x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)

    def features(self, x: Tensor) -> Tensor:
        """The input of the heads: images (N, 3, H, W) to features (N, channels), averaged over positions."""
        x = self.stem(x)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        return x.mean((2, 3))

    def set_drop_path(self, probability: float) -> None:
        """Set the probability that a sample skips the last block; it falls linearly towards the first (`DropPath`)."""
        drops = [module for module in self.modules() if isinstance(module, DropPath)]
        for depth, drop in enumerate(drops, start=1):
            drop.p = probability * depth / len(drops)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.features(x)
        return {task: head(features) for task, head in zip(self.tasks, self.heads.values(), strict=True)}


def _head_name(task: str) -> str:
    """The name of a task's head: a module cannot hold one that is called `type` or `values`."""
    return f"{task}_" if hasattr(nn.ModuleDict(), task) else task


class RecurrentResNet(ResNet):
    """The network with recurrence along its depth (Zhao, Fang and Li, NeurIPS 2021); otherwise as `ResNet`.

    `cell` is the class of the recurrent cells and `state_channels` the number of channels of their state. The state
    starts at zero, at no cost, passes through all stages, and is concatenated to the last block's output for the heads.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        attention: Attention,
        classes: Mapping[str, int],
        cell: Cell,
        state_channels: int,
    ) -> None:
        super().__init__(block, depths, attention, classes, state_channels)
        widths = [channels * block.expansion for channels in (64, 128, 256, 512)]
        self.cells = nn.ModuleList(
            cell(width, state_channels, steps=depth) for width, depth in zip(widths, depths, strict=True)
        )
        # Odd heights and widths are rounded up, as in a strided convolution.
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2, ceil_mode=True)
        self.readout = cell.readout(state_channels)
        _init_convs(self.cells)

    def features(self, x: Tensor) -> Tensor:
        """The input of the heads: images (N, 3, H, W) to features (N, channels), averaged over positions."""
        x = self.stem(x)
        state: State = ()
        stages = (self.layer1, self.layer2, self.layer3, self.layer4)
        for stage, cell in zip(stages, self.cells, strict=True):
            for step, block in enumerate(stage):
                x = block(x, state[0] if state else None)
                if state and x.shape[2:] != state[0].shape[2:]:
                    state = tuple(self.pool(tensor) for tensor in state)
                state = cell(x, state, step)
        h = self.readout(state[0])
        return torch.cat((x.mean((2, 3)), h.mean((2, 3))), dim=1)


def _init_convs(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
