"""Where the ranks run: what those on one host share, its CPUs, its memory and its GPUs. Pure, but for `here`."""

import json
import socket
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import torch

from shards.errors import UserError
from shards.workers import affinity, cpu_quota

MOST_THREADS = 24  # that decode for a rank, with which one GPU cannot keep up
FEWEST_CPUS = 4  # of a rank with a GPU, below which decoding may be slower than training
PINNED_SHARE = 0.25  # of a host's memory, for the page-locked batches of all its ranks


@dataclass(frozen=True)
class Place:
    """Where a rank runs. `cpus` are those of its affinity, `quota` its container's limit, `gpu` the id of its GPU."""

    host: str
    cpus: frozenset[int]
    quota: int | None = None
    gpu: str = ""

    @classmethod
    def here(cls, device: torch.device) -> Self:
        """The place of this process."""
        boot = Path("/proc/sys/kernel/random/boot_id")  # two containers or hosts may have one name
        host = f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''}"
        gpu = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else ""
        return cls(host, affinity(), cpu_quota(), gpu)

    def dumps(self) -> str:
        """The place as JSON."""
        return json.dumps(asdict(self), default=sorted)

    @classmethod
    def loads(cls, text: str | bytes) -> Self:
        """The place from JSON."""
        values = json.loads(text)
        return cls(**{**values, "cpus": frozenset(values["cpus"])})


def local_ranks(places: Sequence[Place], rank: int) -> int:
    """How many ranks run on the host of `rank`."""
    return sum(place.host == places[rank].host for place in places)


def cpus_of(places: Sequence[Place], rank: int) -> int:
    """A rank's share of CPUs: of its affinity, with the ranks of the host that may use them too, and of the quota."""
    own = places[rank]
    sharing = sum(place.host == own.host and bool(place.cpus & own.cpus) for place in places)
    share = len(own.cpus) // max(1, sharing)
    if own.quota:
        share = min(share, own.quota // local_ranks(places, rank))
    return max(1, share)


def check_gpus(places: Sequence[Place]) -> None:
    """Raise `UserError` if two ranks have one GPU, which NCCL refuses."""
    users = defaultdict(list)
    for rank, place in enumerate(places):
        if place.gpu:
            users[place.host, place.gpu].append(rank)
    for (host, gpu), ranks in users.items():
        if len(ranks) > 1:
            raise UserError(
                f"ranks {', '.join(map(str, ranks[:-1]))} and {ranks[-1]} on {host.split(' ')[0]} have one GPU, {gpu}; "
                "start at most one rank for each GPU"
            )
