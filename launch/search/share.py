"""The share of a machine that each run of a search gets."""

import math
import os
from dataclasses import dataclass

from ..host.cpus import divide, own_cpus
from .block import TuneBlock


@dataclass(frozen=True)
class Share:
    """The CPUs and GPUs of each run of a search, and how many runs there are at a time."""

    cpus: float
    gpus: float
    runs: int = 1

    @property
    def processes(self) -> int:
        """The ranks of a run: one for each GPU of several."""
        return max(1, int(self.gpus))

    @property
    def threads(self) -> int:
        """The CPU threads of each rank."""
        return max(1, int(self.cpus) // self.processes)

    def parts(self) -> list[list[int]]:
        """The CPUs of this machine for each of the runs that fit at a time.

        Empty where the system has no CPU affinity, and where SLURM has given fewer CPUs than it lets be used: others
        may compute on any of them.
        """
        own = own_cpus()
        given = os.environ.get("SLURM_CPUS_ON_NODE", "")
        if given.isdecimal() and len(own) > int(given):
            return []
        count = max(1, math.floor(len(own) / self.cpus))
        # Whole CPUs in the order of cores: a run gets no more than its share.
        parts = divide(own, [()] * count) if own else []
        return [sorted(part, key=lambda cpu: (own[cpu], cpu))[: math.ceil(self.cpus)] for part in parts]


def share(block: TuneBlock, cpus: int, gpus: int, nodes: int = 1) -> Share:
    """What each run gets on nodes with so many CPUs and GPUs each: what the block says, else an equal share."""
    gpus_each = block.gpus_per_run if block.gpus_per_run is not None else float(gpus > 0)
    runs = math.floor(gpus / gpus_each) if gpus_each else cpus
    if block.max_parallel:
        runs = min(runs, -(-block.max_parallel // nodes))
    equal = max(1, cpus // max(1, runs)) if gpus_each else 1
    cpus_each = block.cpus_per_run or equal
    runs = nodes * max(1, min(runs, math.floor(cpus / cpus_each)))
    return Share(cpus_each, gpus_each, min(runs, block.max_parallel or runs))
