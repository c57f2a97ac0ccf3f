"""Initialise a network from other weights: those of a plain ResNet or of another run.

Parts that the source lacks start without effect, so that the initial logits are exactly those of the source: the
input channels of convolutions and heads that take the recurrent state start at zero, and every attention module
scales by a power of two for which the last batch norm of its branch compensates.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor

from shards.errors import UserError
from shards.files import file_sha256

from .. import checkpoint
from ..config import RunConfig
from ..weights import check_digest
from .resnet import BasicBlock, Bottleneck, ResNet

IMAGENET = "imagenet"
_SE_LAYERS = {"0": "reduce", "2": "expand"}
_CHECKPOINT_HEAD = "pretrained"  # the name given here to the classifier of foreign checkpoints


def start_from(model: ResNet, config: RunConfig) -> str:
    """Initialise `model` from the run's `pretrained` or `init_from`: see `load_pretrained` and `load_run`."""
    check_digest(config)
    if config.init_from:
        return load_run(model, Path(config.init_from))
    return load_pretrained(model, str(config.pretrained), config.model.backbone)


def load_pretrained(model: ResNet, source: str, backbone: str) -> str:
    """Initialise `model` from `source`: "imagenet" (torchvision's weights of `backbone`) or a checkpoint file.

    The file contains a state dict of torchvision's ResNet or of the RLANet reference, directly or under the key
    `state_dict`. Returns one line that describes what was loaded and what starts from scratch. Raises `UserError` if
    the weights are not available, or belong to another architecture or to a network with parts that `model` lacks.
    """
    if source == IMAGENET:
        state: Mapping[str, Tensor] = _imagenet(backbone)
    else:
        content = _read(Path(source), "pretrained")
        state = _state_dict(content.get("state_dict", content), source, "pretrained")
    return _start(model, convert_rlanet_state_dict(state, head=_CHECKPOINT_HEAD), source, "pretrained")


def load_run(model: ResNet, source: Path) -> str:
    """Initialise `model` from a run (the weights of its best epoch) or from a checkpoint file.

    `source` is the run directory, its `best.pt` or `last.pt`, or a file that `load_pretrained` accepts. A head starts
    from the source's head for the same task if that has as many classes. Returns and raises as `load_pretrained` does.
    """
    file = source / "checkpoints" / "best.pt" if source.is_dir() else source
    if not file.exists():
        raise UserError(f"init_from: {file} does not exist; train that run first, or name another run or checkpoint")
    content = _read(file, "init_from")
    learner = content.get("learner")
    ours = learner.get("model") if isinstance(learner, Mapping) else content.get("model")
    if ours is None:
        theirs = _state_dict(content.get("state_dict", content), file, "init_from")
        return _start(model, convert_rlanet_state_dict(theirs, head=_CHECKPOINT_HEAD), file, "init_from")
    return _start(model, _state_dict(ours, file, "init_from"), file, "init_from")


def convert_rlanet_state_dict(state_dict: Mapping[str, Tensor], head: str = "imagenet") -> dict[str, Tensor]:
    """Convert a state dict of the RLANet reference implementation (NeurIPS 2021) to the names of our models.

    Supports its ResNets without recurrence or with RLA, LSTM or GRU, without attention or with SE or ECA, saved from
    the bare model or from a data-parallel wrapper. Its classifier becomes the head named `head`. Tensors are shared
    with the input, not copied. Unknown names are kept: load the result with `strict=True` to detect them.
    """
    return {_rename(name, head): tensor for name, tensor in state_dict.items()}


def to_torchvision_state_dict(state_dict: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """Convert a state dict of our ResNet without recurrence and attention to torchvision's names.

    The head named `head` becomes the classifier; other heads are left out. Tensors are shared, not copied.
    """
    named = {name.replace(f"heads.{head}.", "fc."): tensor for name, tensor in state_dict.items()}
    return {name: tensor for name, tensor in named.items() if not name.startswith("heads.")}


def _imagenet(backbone: str) -> dict[str, Tensor]:
    """torchvision's weights, downloaded once to the cache that it shares with others (`TORCH_HOME`).

    A file in the cache is read like any other checkpoint, never executed, and its SHA-256 must be the one in its name.
    """
    weights = torchvision.models.get_model_weights(backbone).DEFAULT
    name = weights.url.rpartition("/")[2]
    file = Path(torch.hub.get_dir(), "checkpoints", name)
    digest = re.sub(r".*-([0-9a-f]+)\..*", r"\1", name)
    try:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(weights.url, str(file), hash_prefix=digest, progress=False)
        found = file_sha256(file)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"pretrained: torchvision's {weights} could not be downloaded ({error}); download {weights.url} on a "
            "machine with network access and set pretrained to the file"
        ) from None
    if not found.startswith(digest):
        raise UserError(f"pretrained: {file} is not the file that torchvision published; delete it, or set TORCH_HOME")
    return _state_dict(_read(file, "pretrained"), file, "pretrained")


def _read(file: Path, key: str) -> Mapping[str, Any]:
    try:
        content = checkpoint.load(file, torch.device("cpu"), require_checksum=False)
    except checkpoint.BrokenError as error:
        raise UserError(f"{key}: {error}; give an intact checkpoint that holds only tensors and plain values") from None
    if content is None:
        raise UserError(f"{key}: {file} does not exist; give an existing checkpoint")
    return content if isinstance(content, Mapping) else {}


def _state_dict(value: object, file: str | Path, key: str) -> dict[str, Tensor]:
    """Return `value` as a state dict. Raises `UserError` unless it maps names to dense real tensors."""
    if isinstance(value, Mapping) and value and all(map(_is_plain, value.keys(), value.values())):
        return dict(value)
    raise UserError(f"{key}: {file} holds no state dict; give a checkpoint of a run, of torchvision or of RLANet")


def _is_plain(name: object, tensor: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(tensor, Tensor)
        and tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.is_quantized
        and not tensor.is_complex()
    )


def _start(model: ResNet, state: dict[str, Tensor], source: str | Path, key: str) -> str:
    """Load `state` into `model`, neutralise the parts it lacks, and report which heads start from scratch."""
    own = model.state_dict()
    columns = model.state_channels
    heads = {name: state.pop(name) for name in list(state) if name.startswith("heads.")}
    fresh = []
    for task in model.heads:
        head = _head(heads, task)
        like = {name: tensor for name, tensor in own.items() if name.startswith(f"heads.{task}.")}
        if {name: tensor.shape[:1] for name, tensor in head.items()} == {name: like[name].shape[:1] for name in like}:
            state |= head
        else:
            fresh.append(task)
    state = {name: _widened(tensor, own[name], columns) if name in own else tensor for name, tensor in state.items()}
    for field, part in (("model.recurrence", "cells"), ("model.attention", "attention")):
        if _has(part, state) and not _has(part, own):
            raise UserError(
                f"{key}: {source} has {field.partition('.')[2]}, which this network lacks; set {field} to match"
            )
    # Recurrence and attention may each be missing as a whole.
    parts = ["heads", *(part for part in ("cells", "attention") if not _has(part, state))]
    lacking = {name for name in own.keys() - state.keys() if any(part in name for part in parts) or "readout" in name}
    # PyTorch 0.4 and torchvision's first weights have no counters.
    lacking |= {name for name in own.keys() - state.keys() if name.endswith(".num_batches_tracked")}
    unlike = {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}
    if wrong := sorted((own.keys() ^ state.keys()) - lacking | unlike):
        raise UserError(f"{key}: {source} has another architecture: {wrong[0]} differs, one of {len(wrong)}")
    model.load_state_dict({**own, **state})
    if _has("attention", lacking):
        _neutralise_attention(model)
    heads_line = f"; from scratch: the head{'s' * (len(fresh) > 1)} for {', '.join(fresh)}" if fresh else ""
    return f"started from {source}{heads_line}"


def _has(part: str, names: Iterable[str]) -> bool:
    return any(part in name for name in names)


def _head(heads: Mapping[str, Tensor], task: str) -> dict[str, Tensor]:
    """The source's weights for the head of `task`, under our names: its head for the task, or its only classifier."""
    name_there = task if f"heads.{task}.weight" in heads else _CHECKPOINT_HEAD
    prefix = f"heads.{name_there}."
    return {f"heads.{task}.{name.removeprefix(prefix)}": heads[name] for name in heads if name.startswith(prefix)}


def _widened(tensor: Tensor, like: Tensor, columns: int) -> Tensor:
    """Pad `tensor` with zeros for the `columns` of the recurrent state, if it lacks nothing else to match `like`."""
    if tensor.ndim < 2 or tensor.shape[:1] + tensor.shape[2:] != like.shape[:1] + like.shape[2:]:
        return tensor
    if not columns or like.shape[1] - tensor.shape[1] != columns:
        return tensor
    wide = torch.zeros_like(like)
    wide[:, : tensor.shape[1]] = tensor
    return wide


@torch.no_grad()
def _neutralise_attention(model: ResNet) -> None:
    for block in model.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            last = block.bn2 if isinstance(block, BasicBlock) else block.bn3
            scale = block.attention.start_neutral()  # type: ignore[operator]  # every attention has it
            last.weight.div_(scale)
            last.bias.div_(scale)


def _rename(name: str, head: str) -> str:
    name = name.removeprefix("module.")
    name = re.sub(r"^stages\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", name)
    name = re.sub(r"\.se\.fc\.([02])\.", lambda match: f".attention.{_SE_LAYERS[match[1]]}.", name)
    name = re.sub(r"\.eca\.", ".attention.", name)
    name = re.sub(r"^conv_outs\.(\d+)\.", r"cells.\1.conv_out.", name)
    name = re.sub(r"^recurrent_convs\.(\d+)\.(conv\.)?(?=weight$)", r"cells.\1.conv.", name)
    name = re.sub(r"^recurrent_convs\.(\d+)\.", r"cells.\1.", name)
    name = name.replace("_gate_norm.", "_norm.")
    name = re.sub(r"^stage_bns\.(\d+)\.", r"cells.\1.bns.", name)
    name = re.sub(r"^bn2\.", "readout.0.", name)
    return re.sub(r"^fc\.", f"heads.{head}.", name)
