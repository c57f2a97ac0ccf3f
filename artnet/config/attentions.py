"""The attentions that `model.attention` names. Light to import (no torch): a class is imported where it is used."""

from typing import NamedTuple


class Attention(NamedTuple):
    """An attention: its name in tables, and `module:class` of what is called with (channels, reduction)."""

    label: str
    path: str


ATTENTIONS = {
    "none": Attention("", "torch.nn:Identity"),
    "se": Attention("SE", "artnet.models.attention:SE"),
    "eca": Attention("ECA", "artnet.models.attention:ECA"),
    "cbam": Attention("CBAM", "artnet.models.attention:CBAM"),
    "cbam_channel": Attention("CBAM (channel only)", "artnet.models.attention:ChannelGate"),
}
