"""Find the weights of a network in what a file holds, however they are wrapped, prefixed and named there.

Training programs save a state dict alone, under a key beside the optimizer's state, or under several keys. Wrappers of
the network add a prefix to all names, and a network within a larger one has the prefix of its place. All mappings and
prefixes are tried, and the one with the most names of our network is taken. Where the weights are there twice, as
trained and as a moving average, the average is taken only if it is asked for.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from .layouts import LAYOUTS, Layout

_TRUNK = re.compile(r"(conv1|bn1|layer\d+|cells|readout)\.")  # of any ResNet, also one unlike ours
_AVERAGE = re.compile(
    r"(^|[._-])(ema\d*|swa|averaged?|avg|teacher|momentum|target|shadow|encoder_k|key_encoder)([._-]|$)", re.IGNORECASE
)
_NO_WEIGHTS = ("total_ops", "total_params", "_extra_state")  # the first two are left by thop
_DEPTH = 6  # of mappings within mappings


@dataclass(frozen=True)
class Found:
    """Weights in a file: `trunk` by our names, all `others` by theirs, and where they are.

    `keys` lead to the mapping that holds them, and `prefix` is what its names of the network begin with. `average` is
    the place of the same network's moving average that was not taken, if there is one.
    """

    trunk: dict[str, Tensor]
    others: dict[str, Tensor]
    keys: tuple[str, ...]
    prefix: str
    matching: int  # names of our network
    average: str = ""

    @property
    def place(self) -> str:
        """Where the weights are, as people write it: `model.module`; empty for those of a plain state dict."""
        return ".".join([*self.keys, self.prefix]).strip(".")

    def is_alike(self, own: Collection[str]) -> bool:
        """Whether it has blocks of a ResNet, or else most of the names `own`."""
        return any(name.startswith("layer1.0.conv1.") for name in self.trunk) or 2 * self.matching > len(own)

    @property
    def is_average(self) -> bool:
        """Whether they are a moving average, by the names of keys and prefix."""
        return bool(_AVERAGE.search(".".join([*self.keys, self.prefix.strip(".")])))


def find(content: object, own: Collection[str], average: bool = False) -> Found | None:
    """The weights in `content` of a network with the names `own`; their moving average if that is asked for.

    None if no mapping holds a ResNet or most of these names, or if there is no average.
    """
    found = [
        candidate
        for keys, tensors in state_dicts(content)
        for layout in LAYOUTS
        for prefix in _prefixes(tensors, layout)
        if (candidate := _named(keys, tensors, prefix, layout, own)).is_alike(own)
    ]
    most = max((candidate.matching for candidate in found), default=0)
    found = [candidate for candidate in found if 2 * candidate.matching > most]  # not a block as a network
    averages = [candidate for candidate in found if candidate.is_average]
    chosen = averages if average else [candidate for candidate in found if not candidate.is_average] or averages
    if not chosen:
        return None
    best = max(chosen, key=lambda candidate: candidate.matching)
    if averages and not best.is_average:
        return replace(best, average=averages[0].place)
    return best


def state_dicts(content: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Every mapping of names to tensors in `content`, with the keys that lead to it."""
    if not isinstance(content, Mapping):
        return
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    if tensors := {name: value for name, value in named.items() if isinstance(value, Tensor)}:
        yield keys, tensors
    if len(keys) < _DEPTH:
        for name, value in named.items():
            yield from state_dicts(value, (*keys, name))


def _prefixes(names: Collection[str], layout: Layout) -> list[str]:
    """What stands before a layout's first layers in these names, in their order."""
    found = dict.fromkeys(name.removesuffix(mark) for name in names for mark in layout.marks if name.endswith(mark))
    return [prefix for prefix in found if not prefix or prefix.endswith(".")]


def _named(
    keys: tuple[str, ...], tensors: Mapping[str, Tensor], prefix: str, layout: Layout, own: Collection[str]
) -> Found:
    """The weights behind a prefix by our names, and all others."""
    trunk, others = {}, {}
    for theirs, tensor in tensors.items():
        if theirs.endswith(_NO_WEIGHTS):
            continue
        name = theirs.removeprefix(prefix) if theirs.startswith(prefix) else ""
        ours = name if name in own else layout.rename(name)
        if _TRUNK.match(ours) or (ours in own and not ours.startswith("heads.")):
            trunk[ours] = tensor.detach()
        else:
            others[theirs] = tensor.detach()
    return Found(trunk, others, keys, prefix, len(trunk.keys() & set(own)))


def classifier(found: Found, features: Collection[int]) -> str | None:
    """What the names of the only linear layer beside the trunk that takes so many features begin with.

    That of the network itself is preferred to one beside it. None without one, and where there are several: they are
    no classifier but a projection to something else.
    """
    linear = {
        name.removesuffix("weight"): tensor
        for name, tensor in found.others.items()
        if name.endswith(".weight") and tensor.ndim == 2 and tensor.shape[1] in features
        if not name.removeprefix(found.prefix).startswith("heads.")  # each of ours is of one task
    }
    inside = [name for name in linear if name.startswith(found.prefix)]
    beside = [name for name in linear if not _AVERAGE.search(name)]
    for layers in (inside, beside):
        if layers:
            return layers[0] if len(layers) == 1 else None
    return None
