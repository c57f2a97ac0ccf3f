"""The processes that train one run together. Whoever starts them sets torchrun's variables; alone, there are none."""

import os
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from shards.errors import UserError


@dataclass(frozen=True)
class Ranks:
    """This process among its peers, and its device."""

    rank: int
    world_size: int
    local_world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone writes files and speaks."""
        return self.rank == 0

    @property
    def on_gpu(self) -> bool:
        """Whether this rank computes on a GPU."""
        return self.device.type == "cuda"

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The element-wise sum of `values` over all ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it holds on any rank: the same answer on all of them."""
        if self.world_size == 1:
            return list(flags)
        return [bool(count) for count in self.sum(torch.tensor(flags, dtype=torch.int32, device=self.device)).tolist()]

    def union(self, names: Set[str]) -> set[str]:
        """The names that any rank has. Every rank must call it."""
        if self.world_size == 1:
            return set(names)
        gathered: list[Set[str]] = [set()] * self.world_size
        dist.all_gather_object(gathered, names)
        return set().union(*gathered)

    def same_buffers(self, model: nn.Module) -> None:
        """Give every rank the first one's buffers: the statistics of batch norms differ after a training step."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Return when every rank is here."""
        if self.world_size > 1:
            dist.barrier()


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the peers named by RANK, WORLD_SIZE and MASTER_ADDR: nccl on GPUs, gloo on CPUs.

    Raises `UserError` if the variables are no numbers.
    """
    try:
        rank, local_rank = (int(os.environ.get(name, 0)) for name in ("RANK", "LOCAL_RANK"))
        world_size, local_world_size = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    except ValueError as error:
        raise UserError(
            f"RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE must be numbers ({error}); use torchrun"
        ) from None
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    # A scheduler may show each process its own GPU alone: then it is number 0 whatever the local rank.
    device = torch.device("cuda", local_rank % gpus) if gpus else torch.device("cpu")
    if gpus:
        torch.cuda.set_device(device)
    ranks = Ranks(rank, world_size, local_world_size, device)
    if world_size == 1:
        yield ranks
        return
    dist.init_process_group("nccl" if gpus else "gloo", device_id=device if gpus else None)
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
