"""Weights under the names of others: torchvision, and the reference implementation of Recurrent Layer Aggregation."""

import re
from collections.abc import Mapping

from torch import Tensor

_SE_LAYERS = {"0": "reduce", "2": "expand"}


def convert_rlanet_state_dict(state_dict: Mapping[str, Tensor], head: str = "imagenet") -> dict[str, Tensor]:
    """Rename a state dict of the RLANet reference implementation (NeurIPS 2021) to load into our models.

    Takes its ResNets without recurrence, with RLA, LSTM or GRU, and without attention, with SE or with ECA,
    saved from the bare model or from a wrapper for data parallelism. Its classifier becomes the head named
    `head`. Tensors are shared with the input, not copied. Names that need no change are kept, and so are
    unknown ones: load the result with `strict=True` to hear of them.
    """
    return {_rename(name, head): tensor for name, tensor in state_dict.items()}


def to_torchvision_state_dict(state_dict: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
    """Rename a state dict of our ResNet without recurrence and attention to load into torchvision's.

    The head named `head` becomes its classifier; other heads are left out. Tensors are shared, not copied.
    """
    named = {name.replace(f"heads.{head}.", "fc."): tensor for name, tensor in state_dict.items()}
    return {name: tensor for name, tensor in named.items() if not name.startswith("heads.")}


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
