"""The names that other programs give the weights of a ResNet, in terms of ours."""

import re
from collections.abc import Callable
from dataclasses import dataclass

_SE_LAYERS = {"0": "reduce", "2": "expand"}


@dataclass(frozen=True)
class Layout:
    """A way of naming: the names of first layers, by which it is recognised behind any prefix, and ours for a name."""

    marks: tuple[str, ...]
    rename: Callable[[str], str]


def rename_rlanet(name: str) -> str:
    """Our name for one of torchvision or of the RLANet reference; an unknown name as it is."""
    name = re.sub(r"^stages\.(\d+)\.", lambda match: f"layer{int(match[1]) + 1}.", name)
    name = re.sub(r"\.se\.fc\.([02])\.", lambda match: f".attention.{_SE_LAYERS[match[1]]}.", name)
    name = re.sub(r"\.eca\.", ".attention.", name)
    name = re.sub(r"^conv_outs\.(\d+)\.", r"cells.\1.conv_out.", name)
    name = re.sub(r"^recurrent_convs\.(\d+)\.(conv\.)?(?=weight$)", r"cells.\1.conv.", name)
    name = re.sub(r"^recurrent_convs\.(\d+)\.", r"cells.\1.", name)
    name = name.replace("_gate_norm.", "_norm.")
    name = re.sub(r"^stage_bns\.(\d+)\.", r"cells.\1.bns.", name)
    return re.sub(r"^bn2\.", "readout.0.", name)


def rename_sequential(name: str) -> str:
    """Our name for one of `nn.Sequential(*resnet.children())`, which counts torchvision's layers."""
    for number, ours in (("0", "conv1"), ("1", "bn1"), *((str(stage + 3), f"layer{stage}") for stage in range(1, 5))):
        if name.startswith(f"{number}."):
            return f"{ours}.{name.removeprefix(f'{number}.')}"
    return name


def rename_hugging_face(name: str) -> str:
    """Our name for one of `ResNetModel` of Hugging Face's transformers."""
    name = re.sub(r"^embedder\.embedder\.convolution\.", "conv1.", name)
    name = re.sub(r"^embedder\.embedder\.normalization\.", "bn1.", name)
    name = re.sub(r"^encoder\.stages\.(\d+)\.layers\.", lambda match: f"layer{int(match[1]) + 1}.", name)
    name = re.sub(r"\.shortcut\.convolution\.", ".downsample.0.", name)
    name = re.sub(r"\.shortcut\.normalization\.", ".downsample.1.", name)
    name = re.sub(r"\.layer\.(\d+)\.convolution\.", lambda match: f".conv{int(match[1]) + 1}.", name)
    return re.sub(r"\.layer\.(\d+)\.normalization\.", lambda match: f".bn{int(match[1]) + 1}.", name)


LAYOUTS = (
    Layout(("conv1.weight", "layer1.0.conv1.weight", "stages.0.0.conv1.weight"), rename_rlanet),
    Layout(("4.0.conv1.weight",), rename_sequential),
    Layout(("encoder.stages.0.layers.0.layer.0.convolution.weight",), rename_hugging_face),
)
