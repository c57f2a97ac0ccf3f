"""How the network of a file differs from ours, by the names and shapes of their weights, and what to do about it."""

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from .build import BACKBONES
from .resnet import Bottleneck

Weights = Mapping[str, Tensor]


def difference(theirs: Weights, own: Weights, wrong: Collection[str]) -> str:
    """The difference that explains the others best, as the end of a sentence that begins with the file.

    `wrong` are the names that are in one of them alone or differ in shape, in their order.
    """
    for differs in (_other_stem, _other_backbone, _other_recurrence, _other_attention, _no_statistics):
        if said := differs(theirs, own):
            return said
    name = next((name for name in wrong if name in theirs and name in own), min(wrong))
    return f"{_at(name, theirs, own)}; give a checkpoint of the same architecture"


def lacking_part(field: str, theirs: Weights) -> str:
    """The sentence for recurrence or attention in the file and none in ours."""
    kind = _recurrence(theirs) if field == "recurrence" else _attention(theirs)
    return f"has {field}, which this network lacks; set model.{field} to {kind or 'match'}"


def _at(name: str, theirs: Weights, own: Weights) -> str:
    if name not in own:
        return f"has another architecture: this network has no {name}"
    if name not in theirs:
        return f"has another architecture: it has no {name}"
    return f"has another architecture: {name} is {_shape(theirs[name])} in the file and {_shape(own[name])} here"


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"


def _other_stem(theirs: Weights, own: Weights) -> str | None:
    stem = [name for name in theirs if re.match(r"conv1\.\d+\.weight", name)]
    if not stem or "conv1.weight" in theirs:
        return None
    return (
        f"has a first layer of several convolutions ({stem[0]}), as timm's resnet50d; this network has torchvision's, "
        "one of 7 x 7: give a checkpoint of torchvision's architecture"
    )


def _no_statistics(theirs: Weights, own: Weights) -> str | None:
    lacking = [name for name in own if name not in theirs and name.endswith((".running_mean", ".running_var"))]
    if not lacking or any(name.endswith((".running_mean", ".running_var")) for name in theirs):
        return None
    return (
        f"lacks the running statistics of batch norms ({lacking[0]}), as a list of parameters does; "
        "give a checkpoint of the network's whole state_dict()"
    )


def _depths(names: Collection[str]) -> tuple[bool, tuple[int, ...]]:
    """Whether blocks are bottlenecks, and how many there are in each stage."""
    blocks = {match.groups() for name in names if (match := re.match(r"layer(\d+)\.(\d+)\.", name))}
    stages = sorted({stage for stage, _ in blocks})
    return any(re.match(r"layer\d+\.\d+\.conv3\.", name) for name in names), tuple(
        sum(stage == of for of, _ in blocks) for stage in stages
    )


def _other_backbone(theirs: Weights, own: Weights) -> str | None:
    there, here = _depths(theirs), _depths(own)
    if there == here or not there[1]:
        return None
    ours = _backbone(here) or "network of other blocks"
    if known := _backbone(there):
        remedy = f"set model.backbone: {known}, or give a checkpoint of {ours}"
        return f"holds a {known}, and this network is a {ours}; {remedy}"
    blocks = f"{', '.join(map(str, there[1]))} {'bottlenecks' if there[0] else 'basic blocks'}"
    return f"holds a network of {blocks} in its stages, and this network is a {ours}; give a checkpoint of {ours}"


def _backbone(of: tuple[bool, tuple[int, ...]]) -> str | None:
    return next((name for name, (block, depths) in BACKBONES.items() if (block is Bottleneck, depths) == of), None)


def _recurrence(names: Collection[str] | Weights) -> str | None:
    if not any(name.startswith("cells.") for name in names):
        return None
    if "cells.0.gate_conv.weight" in names:
        return "gru"
    return "rla" if any(name.startswith("readout.") for name in names) else "lstm"


def _other_recurrence(theirs: Weights, own: Weights) -> str | None:
    there, here = _recurrence(theirs), _recurrence(own)
    if there is None or here is None:
        return None
    if there != here:
        return f"has recurrence {there}, and this network {here}; set model.recurrence: {there}"
    widths = [weights.get("cells.0.conv_out.weight") for weights in (theirs, own)]
    channels = [width.shape[0] if width is not None and width.ndim else None for width in widths]
    return _other_number("recurrent_channels", channels)


def _attention(names: Collection[str] | Weights) -> str | None:
    last = {name.partition(".attention.")[2] for name in names if ".attention." in name}
    for mark, kind in (
        ("channel.reduce.weight", "cbam"),
        ("reduce.bias", "cbam_channel"),
        ("reduce.weight", "se"),
        ("conv.weight", "eca"),
    ):
        if mark in last:
            return kind
    return None


def _other_attention(theirs: Weights, own: Weights) -> str | None:
    there, here = _attention(theirs), _attention(own)
    if there is None or here is None:
        return None
    if there != here:
        return f"has attention {there}, and this network {here}; set model.attention: {there}"
    ratios = []
    for weights in (theirs, own):
        reduced = next((weights[name] for name in weights if name.endswith("reduce.weight")), None)
        ratios.append(
            reduced.shape[1] // max(1, reduced.shape[0]) if reduced is not None and reduced.ndim > 1 else None
        )
    return _other_number("se_reduction", ratios)


def _other_number(field: str, values: list[int | None]) -> str | None:
    there, here = values
    if there is None or here is None or there == here:
        return None
    return f"has {field} {there} in the file, {here} in the config; set model.{field}: {there}"
