"""Starting from ImageNet: the weights of a plain ResNet in a network with recurrence and attention.

What the plain network lacks starts without effect, so that at first the logits are exactly its own: the state's
columns of the convolutions and heads are zero, and every attention scales by a power of two that the last batch norm
of its branch makes up for.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
import torchvision
from torch import Tensor

from shards.errors import UserError

from .resnet import BasicBlock, Bottleneck, ResNet
from .weights import convert_rlanet_state_dict

IMAGENET = "imagenet"
_CHECKPOINT_HEAD = "pretrained"  # what the classifier of a checkpoint is called here


def load_pretrained(model: ResNet, source: str, backbone: str) -> str:
    """Start `model` from `source`: "imagenet", for torchvision's weights of `backbone`, or a checkpoint's file.

    A file holds a state dict of torchvision's ResNet or of the RLANet reference, or one under the key `state_dict`.
    Returns one line that says what was loaded and what starts afresh. Raises `UserError` for weights that cannot be
    had and for those of another architecture.
    """
    state = _imagenet(backbone) if source == IMAGENET else _read(Path(source))
    state = convert_rlanet_state_dict(state, head=_CHECKPOINT_HEAD)
    fresh = _fit(model, state, source)
    heads = f"; afresh: the head{'s' * (len(fresh) > 1)} for {', '.join(fresh)}" if fresh else ""
    return f"started from {source}{heads}"


def _imagenet(backbone: str) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(backbone).DEFAULT
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise UserError(
            f"pretrained: torchvision's {weights} cannot be fetched ({error}); fetch {weights.url} where there is a "
            "network and give its file"
        ) from None
    return state


def _read(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"pretrained: {file} cannot be read as a checkpoint of tensors ({first})") from None
    state = state.get("state_dict", state) if isinstance(state, Mapping) else {}
    if not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UserError(f"pretrained: {file} holds no state dict; give a checkpoint of torchvision's or RLANet's")
    return dict(state)


def _fit(model: ResNet, state: dict[str, Tensor], source: str) -> list[str]:
    """Load `state` into `model`, add without effect what it lacks, and return the heads that start afresh."""
    own = model.state_dict()
    classifier = {name: state.pop(name) for name in list(state) if name.startswith("heads.")}
    fresh = []
    for task, head in model.heads.items():
        if {len(tensor) for tensor in classifier.values()} == {head.out_features}:
            state |= {name.replace(_CHECKPOINT_HEAD, task): tensor for name, tensor in classifier.items()}
        else:
            fresh.append(task)
    state = {name: _widened(tensor, own[name]) if name in own else tensor for name, tensor in state.items()}
    # Recurrence and attention may be lacking as a whole.
    parts = ["heads", *(part for part in ("cells", "attention") if not any(part in name for name in state))]
    lacking = {name for name in own.keys() - state.keys() if any(part in name for part in parts) or "readout" in name}
    unlike = {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}
    if wrong := sorted((own.keys() ^ state.keys()) - lacking | unlike):
        raise UserError(f"pretrained: {source} is of another architecture: {wrong[0]} differs, one of {len(wrong)}")
    model.load_state_dict({**own, **state})
    if any("attention" in name for name in lacking):
        _neutralise_attention(model)
    return fresh


def _widened(tensor: Tensor, like: Tensor) -> Tensor:
    """`tensor` with zeros for the columns of the recurrent state that it lacks, if that is all it lacks."""
    if tensor.ndim < 2 or tensor.shape[0] != like.shape[0] or tensor.shape[2:] != like.shape[2:]:
        return tensor
    wide = torch.zeros_like(like)
    wide[:, : tensor.shape[1]] = tensor
    return wide if tensor.shape[1] < like.shape[1] else tensor


@torch.no_grad()
def _neutralise_attention(model: ResNet) -> None:
    for block in model.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            last = block.bn2 if isinstance(block, BasicBlock) else block.bn3
            scale = block.attention.start_neutral()  # type: ignore[operator]  # every attention has it
            last.weight.div_(scale)
            last.bias.div_(scale)
