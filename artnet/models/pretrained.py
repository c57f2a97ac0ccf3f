"""Initialise a network from other weights: those of a plain ResNet or of another run.

Parts that the source lacks start without effect, so that the initial logits are exactly those of the source: the
input channels of convolutions and heads that take the recurrent state start at zero, and every attention module
scales by a power of two for which the last batch norm of its branch compensates.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor

from shards.errors import UserError
from shards.files import file_sha256

from ..config import RunConfig
from ..weights import check_digest, file_of
from .build import build_model
from .fit import Fitted, fit
from .layouts import rename_rlanet
from .resnet import BasicBlock, Bottleneck, ResNet
from .state_dict import find, state_dicts
from .weight_file import read

IMAGENET = "imagenet"


def start_from(model: ResNet, config: RunConfig) -> str:
    """Initialise `model` from the run's `pretrained` or `init_from`: see `load_pretrained` and `load_run`."""
    check_digest(config)
    if config.init_from:
        return load_run(model, Path(config.init_from), config.weights_ema)
    return load_pretrained(model, str(config.pretrained), config.model.backbone, config.weights_ema)


def check_fits(config: RunConfig) -> None:
    """Raise `UserError`, as `start_from` does, if the file of the run's weights does not fit the run's network."""
    source = config.weights_source
    if source is None:
        return
    with torch.device("meta"):
        model = build_model(**config.model.model_dump(), classes={})
    if config.init_from:
        _fitted(model, file_of(source), "init_from", config.weights_ema)
    else:
        _fitted(model, source, "pretrained", config.weights_ema)


def load_pretrained(model: ResNet, source: str, backbone: str, average: bool = False) -> str:
    """Initialise `model` from `source`: "imagenet" (torchvision's weights of `backbone`) or a checkpoint file.

    The file contains the weights of a ResNet as torchvision, timm, Hugging Face's transformers, the RLANet reference
    or this project name them, however a training program has wrapped them (`state_dict.find`); their moving average
    with `average`. Returns one line that describes what was loaded and what starts from scratch. Raises `UserError` if
    the weights are not available, are not finite, or belong to another architecture or to a network with parts that
    `model` lacks.
    """
    file = _imagenet(backbone) if source == IMAGENET else Path(source)
    return _start(model, _fitted(model, file, "pretrained", average), source)


def load_run(model: ResNet, source: Path, average: bool = False) -> str:
    """Initialise `model` from a run (the weights of its best epoch) or from a checkpoint file.

    `source` is the run directory, its `best.pt` or `last.pt`, or a file that `load_pretrained` accepts. A head starts
    from the source's head for the same task if that has as many classes. Returns and raises as `load_pretrained` does.
    """
    file = file_of(source)
    if not file.exists():
        raise UserError(f"init_from: {file} does not exist; train that run first, or name another run or checkpoint")
    return _start(model, _fitted(model, file, "init_from", average), file)


def convert_rlanet_state_dict(state_dict: Mapping[str, Tensor], head: str = "imagenet") -> dict[str, Tensor]:
    """Convert a state dict of the RLANet reference implementation (NeurIPS 2021) to the names of our models.

    Supports its ResNets without recurrence or with RLA, LSTM or GRU, without attention or with SE or ECA, saved from
    the bare model or from a data-parallel wrapper. Its classifier becomes the head named `head`. Tensors are shared
    with the input, not copied. Unknown names are kept: load the result with `strict=True` to detect them.
    """
    named = {rename_rlanet(name.removeprefix("module.")): tensor for name, tensor in state_dict.items()}
    return {re.sub(r"^fc\.", f"heads.{head}.", name): tensor for name, tensor in named.items()}


def to_torchvision_state_dict(state_dict: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """Convert a state dict of our ResNet without recurrence and attention to torchvision's names.

    The head named `head` becomes the classifier; other heads are left out. Tensors are shared, not copied.
    """
    named = {name.replace(f"heads.{head}.", "fc."): tensor for name, tensor in state_dict.items()}
    return {name: tensor for name, tensor in named.items() if not name.startswith("heads.")}


def _imagenet(backbone: str) -> Path:
    """The file of torchvision's weights, downloaded once to the cache that it shares with others (`TORCH_HOME`).

    A file in the cache is read like any other checkpoint, never executed, and its SHA-256 must be the one in its name.
    """
    import torchvision  # takes a second, and is needed for this alone

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
    return file


def _fitted(model: ResNet, file: Path, key: str, average: bool) -> Fitted:
    """The weights in a file, fitted to `model`. Raises `UserError` that begins with `key`."""
    own = model.state_dict()
    try:
        content = read(file)
        if (found := find(content, own, average)) is None:
            raise UserError(f"{file} {_nothing_found(content, own, average)}")
        return fit(model, found, file)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _nothing_found(content: object, own: Mapping[str, Tensor], average: bool) -> str:
    """Why no weights were found: there is no average of them, other names, or no tensors at all."""
    if average and find(content, own):
        return "holds no moving average of its weights; leave out weights_ema"
    tensors = max((tensors for _, tensors in state_dicts(content)), key=len, default={})
    if not tensors:
        return "holds no state dict; give a checkpoint of a run, of torchvision or of RLANet"
    theirs = next((name for name in tensors if name.endswith(".weight")), next(iter(tensors)))
    ours = "layer1.0.conv1.weight"
    return f"holds no ResNet: its names are such as {theirs!r}, ours such as {ours!r}; give a checkpoint of a ResNet"


def _start(model: ResNet, fitted: Fitted, source: str | Path) -> str:
    """Load the weights into `model`, neutralise the attention that they lack, and describe it in one line."""
    model.load_state_dict({**model.state_dict(), **fitted.state})
    if fitted.lacks_attention:
        _neutralise_attention(model)
    return f"started from {source}{fitted.description}"


@torch.no_grad()
def _neutralise_attention(model: ResNet) -> None:
    for block in model.modules():
        if isinstance(block, BasicBlock | Bottleneck):
            last = block.bn2 if isinstance(block, BasicBlock) else block.bn3
            scale = block.attention.start_neutral()  # type: ignore[operator]  # every attention has it
            last.weight.div_(scale)
            last.bias.div_(scale)
