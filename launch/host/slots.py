"""Slots for runs on this machine: each has GPUs and CPUs of its own."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from shards.workers import cores

from .cpus import Core, divide, own_cpus
from .environment import training_environment
from .gpus import near_cpus


@dataclass(frozen=True)
class Slot:
    """A place for one run. `threads` is the number of OpenMP threads of each of its ranks.

    `cpus` is empty where the run may use all CPUs; `gpus` is empty on a machine without GPUs.
    """

    gpus: tuple[str, ...]
    cpus: frozenset[int]
    threads: int

    def environment(self) -> dict[str, str]:
        """The environment of a run in this slot."""
        environment = {"OMP_NUM_THREADS": str(self.threads), **training_environment()}
        return {**environment, "CUDA_VISIBLE_DEVICES": ",".join(self.gpus)} if self.gpus else environment


def slots(gpus: Sequence[str], processes: int, parallel: int | None = None, runs_per_gpu: int = 1) -> list[Slot]:
    """The slots for at most `parallel` runs of `processes` ranks each, one GPU for a rank and `runs_per_gpu` on it.

    By default as many runs as the GPUs allow; one without GPUs.
    """
    if gpus:
        shares = [tuple(gpus[first : first + processes]) for first in range(0, len(gpus), processes)]
        shares = [share for share in shares if len(share) == processes] or shares[:1]
        shares = (shares * runs_per_gpu)[:parallel]
    else:
        shares = [()] * (parallel or 1)
    return place(shares, processes, own_cpus(), near_cpus(gpus) if len(shares) > 1 else {})


def place(
    shares: Sequence[tuple[str, ...]],
    processes: int,
    cpus: Mapping[int, Core],
    near: Mapping[str, Collection[int]],
) -> list[Slot]:
    """A slot for each of the `shares` of the GPUs, with its part of the `cpus`. `near`: the CPUs close to a GPU."""
    known = [[near.get(gpu, ()) for gpu in share] for share in shares]
    together = [frozenset().union(*sets) if all(sets) else frozenset() for sets in known]
    parts = divide(cpus, together) if cpus and len(shares) > 1 else [frozenset[int]()] * len(shares)
    found = []
    for share, part in zip(shares, parts, strict=True):
        # A container's limit holds for all slots together, whatever their affinity.
        room = min(len(part) or cores(), max(1, cores() // len(shares)))
        found.append(Slot(share, part, max(1, room // processes)))
    return found
