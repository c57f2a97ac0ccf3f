"""Build models by name: backbone x recurrence x attention."""

from collections.abc import Iterable, Mapping
from importlib import import_module

from torch import nn

from artnet.config.attentions import ATTENTIONS
from artnet.models.recurrence import RLA, Cell, ConvGRU, ConvLSTM
from artnet.models.resnet import BasicBlock, Bottleneck, RecurrentResNet, ResNet

# The numbers of residual blocks in the four stages, as published.
BACKBONES: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}
RECURRENCES: dict[str, Cell | None] = {"none": None, "rla": RLA, "lstm": ConvLSTM, "gru": ConvGRU}


def build_model(
    *,
    backbone: str,
    recurrence: str,
    attention: str,
    classes: Mapping[str, int],
    se_reduction: int = 16,
    recurrent_channels: int = 32,
    drop_path: float = 0.0,
) -> ResNet:
    """Build a model with random weights: `forward` maps (N, 3, H, W) to {task: (N, classes) logits}.

    The names are those of `artnet.config.sections.ModelConfig`. `classes` maps every task to its number of classes;
    each gets a linear head. `se_reduction` is the ratio of a block's output channels to the bottleneck of SE and CBAM,
    `recurrent_channels` the number of channels of the recurrent state, and `drop_path` the probability that a sample
    skips the last block in training. Images may have any height and width of at least 33 pixels.

    Raises `ValueError` if a name does not exist.
    """
    _check("backbone", backbone, BACKBONES)
    _check("recurrence", recurrence, RECURRENCES)
    _check("attention", attention, ATTENTIONS)
    block, depths = BACKBONES[backbone]
    cell = RECURRENCES[recurrence]

    module, _, name = ATTENTIONS[attention].path.partition(":")
    attention_class = getattr(import_module(module), name)

    def make_attention(channels: int) -> nn.Module:
        made: nn.Module = attention_class(channels, se_reduction)
        return made

    if cell is None:
        model = ResNet(block, depths, make_attention, classes)
    else:
        model = RecurrentResNet(block, depths, make_attention, classes, cell, recurrent_channels)
    model.set_drop_path(drop_path)
    return model


def _check(field: str, name: str, valid: Iterable[str]) -> None:
    if name not in valid:
        raise ValueError(f"{field} {name!r} does not exist; choose one of {', '.join(valid)}")
