"""Fit weights that were found in a file to a network: its heads, the inputs of its state, and what they lack."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from shards.errors import UserError

from .mismatch import difference, lacking_part
from .resnet import ResNet
from .state_dict import Found, classifier


@dataclass(frozen=True)
class Fitted:
    """Tensors by the network's names, shaped as its own; whether attention starts without effect; what to report."""

    state: dict[str, Tensor]
    lacks_attention: bool
    description: str


def fit(model: ResNet, found: Found, file: Path) -> Fitted:
    """Fit the weights `found` in `file` to `model`, which may be on the meta device.

    The source may lack recurrence or attention as a whole, heads, and the counters of batch norms. Raises `UserError`
    if it has another architecture or parts that `model` lacks, or if weights are not finite real numbers.
    """
    own, columns = model.state_dict(), model.state_channels
    heads, fresh = _heads(model, found)
    state = {**_without_odd_counters(found.trunk), **heads}
    for name, tensor in state.items():
        if reason := _unusable(tensor):
            raise UserError(f"{file} holds {name} as {reason}; give a checkpoint of ordinary tensors")
    state = {name: _widened(tensor, own[name], columns) if name in own else tensor for name, tensor in state.items()}
    for field, part in (("recurrence", "cells"), ("attention", "attention")):
        if _has(part, state) and not _has(part, own):
            raise UserError(f"{file} {lacking_part(field, state)}")
    # Recurrence and attention may each be missing as a whole.
    parts = ["heads", *(part for part in ("cells", "attention") if not _has(part, state))]
    lacking = {name for name in own.keys() - state.keys() if any(part in name for part in parts) or "readout" in name}
    # PyTorch 0.4 and torchvision's first weights have no counters.
    lacking |= {name for name in own.keys() - state.keys() if name.endswith(".num_batches_tracked")}
    unlike = {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}
    if wrong := [*(name for name in own if name in unlike), *sorted((own.keys() ^ state.keys()) - lacking)]:
        raise UserError(f"{file} {difference(state, own, wrong)}")
    state = {name: tensor.to(own[name].dtype) for name, tensor in state.items()}
    _check_finite(state, file)
    return Fitted(state, _has("attention", lacking), _description(model, found, fresh))


def _has(part: str, names: Iterable[str]) -> bool:
    return any(part in name for name in names)


def _classifier(model: ResNet, found: Found) -> str | None:
    widths = {head.weight.shape[1] for head in model.heads.values() if isinstance(head, nn.Linear)}
    return classifier(found, {width - state for width in widths for state in (0, model.state_channels)})


def _heads(model: ResNet, found: Found) -> tuple[dict[str, Tensor], list[str]]:
    """The weights of heads that the source has too, and the tasks that it has not.

    A head starts from the source's for the same task, or from its only classifier, if that has as many classes.
    """
    state: dict[str, Tensor] = {}
    fresh, only = [], _classifier(model, found)
    for task, head in model.heads.items():
        own = head.state_dict()
        prefix: str | None = f"{found.prefix}heads.{task}."
        if f"{prefix}weight" not in found.others:
            prefix = only
        there = {name: found.others[f"{prefix}{name}"] for name in own if prefix and f"{prefix}{name}" in found.others}
        if {name: tensor.shape[:1] for name, tensor in there.items()} == {name: own[name].shape[:1] for name in own}:
            state |= {f"heads.{task}.{name}": tensor for name, tensor in there.items()}
        else:
            fresh.append(task)
    return state, fresh


def _without_odd_counters(trunk: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the counters that are no single number: they change nothing here."""
    return {name: tensor for name, tensor in trunk.items() if tensor.ndim == 0 or "num_batches_tracked" not in name}


def _unusable(tensor: Tensor) -> str | None:
    """What a tensor is that no dense real weight can be made of; None for others."""
    if tensor.device.type != "cpu":
        return f"a tensor without values, on the device {tensor.device}"
    if tensor.layout != torch.strided:
        return f"a sparse tensor ({str(tensor.layout).removeprefix('torch.')})"
    if tensor.is_quantized:
        return f"a quantized tensor ({str(tensor.dtype).removeprefix('torch.')})"
    return "complex numbers" if tensor.is_complex() else None


def _check_finite(state: dict[str, Tensor], file: Path) -> None:
    wrong = {name: tensor for name, tensor in state.items() if not tensor.isfinite().all()}
    if not wrong:
        return
    name, tensor = next(iter(wrong.items()))
    further = f" and in {len(wrong) - 1} more tensors" if len(wrong) > 1 else ""
    kind = "NaN" if tensor.isnan().any() else "infinite values"
    raise UserError(
        f"{file} holds {kind} in {name} ({int((~tensor.isfinite()).sum())} of {tensor.numel()} values){further}; "
        "give a checkpoint from before its training diverged"
    )


def _widened(tensor: Tensor, like: Tensor, columns: int) -> Tensor:
    """Pad `tensor` with zeros for the `columns` of the recurrent state, if it lacks nothing else to match `like`."""
    if tensor.ndim < 2 or tensor.shape[:1] + tensor.shape[2:] != like.shape[:1] + like.shape[2:]:
        return tensor
    if not columns or like.shape[1] - tensor.shape[1] != columns:
        return tensor
    wide = torch.zeros(like.shape, dtype=tensor.dtype)
    wide[:, : tensor.shape[1]] = tensor
    return wide


def _left_out(model: ResNet, found: Found) -> list[str]:
    """The parts of the mapping that are neither of the network nor heads, in their order."""
    heads = tuple(filter(None, (f"{found.prefix}heads.", _classifier(model, found))))
    parts: dict[str, None] = {}
    for name in found.others:
        if not name.startswith(heads):
            inside = name.removeprefix(found.prefix)
            parts[inside.partition(".")[0] if name.startswith(found.prefix) else _part(name, found.prefix)] = None
    return list(parts)


def _part(name: str, prefix: str) -> str:
    """What a name beside `prefix` begins with, up to where it differs: `module.encoder_k`."""
    parts, depth = name.split("."), 1
    while depth < len(parts) and prefix.startswith(".".join([*parts[:depth], ""])):
        depth += 1
    return ".".join(parts[:depth])


def _description(model: ResNet, found: Found, fresh: list[str]) -> str:
    """What was taken, what was left out, and which heads start from scratch."""
    parts = []
    if found.is_average:
        parts.append(f" ({found.place}, a moving average)")
    elif found.place:
        parts.append(f" ({found.place})")
    if found.average:
        parts.append(f"; not from the moving average in {found.average}, which weights_ema: true takes")
    if left_out := _left_out(model, found):
        parts.append(f"; left out: {', '.join(left_out[:3])}{', ...' * (len(left_out) > 3)}")
    if fresh:
        parts.append(f"; from scratch: the head{'s' * (len(fresh) > 1)} for {', '.join(fresh)}")
    return "".join(parts)
