"""Recurrence along depth: cells whose state aggregates the outputs of the blocks so far.

In Recurrent Layer Aggregation (Zhao, Fang and Li, "Recurrence along Depth", NeurIPS 2021) the output of every block
updates a state, whose first tensor h is an input of the next block. Each stage has one cell: its blocks share the
cell's convolutions, and each block has its own batch norm.

The input of the cell is the output of a block after the addition and ReLU, as in the authors' implementation.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# The state of a cell: h, followed by any further tensors. An empty tuple stands for zeros.
State = tuple[Tensor, ...]


class RLA(nn.Module):
    """The plain recurrent cell. Its state is (h,), with h of shape (N, `channels`, H, W).

    `forward(x, state, step)` takes the output x (N, `in_channels`, H, W) of block `step` of the stage, from 0 to
    `steps` - 1, and a state with the same H and W, and returns the new state.
    """

    def __init__(self, in_channels: int, channels: int, steps: int) -> None:
        super().__init__()
        self.conv_out = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.bns = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(steps))
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor, state: State, step: int) -> State:
        x = self.conv_out(x)
        if state:
            x += state[0]
        h = torch.tanh(self.bns[step](x))
        return (self.conv(h),)

    @staticmethod
    def readout(channels: int) -> nn.Module:
        """The module between the last h and the heads: norm and ReLU, since h comes straight from a convolution."""
        return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class ConvLSTM(nn.Module):
    """The LSTM cell. Its state is (h, c), both of shape (N, `channels`, H, W); otherwise as `RLA`.

    One convolution computes all gates: input, forget, output and candidate, in this order.
    """

    def __init__(self, in_channels: int, channels: int, steps: int) -> None:
        super().__init__()
        self.conv_out = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.bns = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(steps))
        self.conv = nn.Conv2d(2 * channels, 4 * channels, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor, state: State, step: int) -> State:
        x = torch.tanh(self.bns[step](self.conv_out(x)))
        channels = x.shape[1]
        if not state:
            # With h and c zero, only the columns of x contribute.
            gates = F.conv2d(x, self.conv.weight.narrow(1, 0, channels), padding=1)
        else:
            gates = self.conv(torch.cat((x, state[0]), dim=1))
        sigmoids, candidate = gates.split((3 * channels, channels), dim=1)
        i, f, o = torch.sigmoid(sigmoids).chunk(3, dim=1)
        c = i * torch.tanh(candidate)
        if state:
            c = torch.addcmul(c, f, state[1])
        return o * torch.tanh(c), c

    @staticmethod
    def readout(channels: int) -> nn.Module:
        """The module between the last h and the heads: the identity, since h is bounded."""
        return nn.Identity()


class ConvGRU(nn.Module):
    """The GRU cell, with group norms on the gates and the candidate. Its state is (h,); otherwise as `RLA`.

    As in the authors' implementation, the update gate is the share of h that is kept.
    """

    def __init__(self, in_channels: int, channels: int, steps: int) -> None:
        super().__init__()
        self.conv_out = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
        self.bns = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(steps))
        self.gate_conv = nn.Conv2d(2 * channels, 2 * channels, kernel_size=3, padding=1)
        self.reset_norm = nn.GroupNorm(1, channels, eps=1e-6)
        self.update_norm = nn.GroupNorm(1, channels, eps=1e-6)
        self.output_conv = nn.Conv2d(2 * channels, channels, kernel_size=3, padding=1)
        self.output_norm = nn.GroupNorm(1, channels, eps=1e-6)

    def forward(self, x: Tensor, state: State, step: int) -> State:
        x = torch.tanh(self.bns[step](self.conv_out(x)))
        h = state[0] if state else torch.zeros_like(x)
        reset, update = self.gate_conv(torch.cat((x, h), dim=1)).chunk(2, dim=1)
        # Autocast computes group norms in float32; the state keeps the dtype of x.
        reset = torch.sigmoid(self.reset_norm(reset)).to(x.dtype)
        update = torch.sigmoid(self.update_norm(update)).to(x.dtype)
        candidate = self.output_norm(self.output_conv(torch.cat((x, reset * h), dim=1)))
        return (torch.lerp(torch.tanh(candidate).to(x.dtype), h, update),)

    @staticmethod
    def readout(channels: int) -> nn.Module:
        """The module between the last h and the heads: the identity, since h is bounded."""
        return nn.Identity()


Cell = type[RLA] | type[ConvLSTM] | type[ConvGRU]
