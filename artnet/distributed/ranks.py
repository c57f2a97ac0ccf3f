"""This process among the ranks that train one run: what it exchanges with the others, and which of them is lost."""

import gc
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from shards.workers import memory_limit

from ..errors import PeerGoneError, PeerLostError, is_out_of_memory
from .peers import PeerWatch, publish, published
from .placement import PINNED_SHARE

RANK_ANSWER_S = 10.0  # how long ranks that timed out wait for one another to report it


@dataclass
class Ranks:
    """The rank of this process, its process groups and its device.

    `local_world_size` counts the ranks of this host. `threads` is how many may decode for this rank. `cpu_group` is for
    collectives that need not wait for a GPU. `store` still works when a group is broken.
    """

    rank: int
    world_size: int
    local_world_size: int
    device: torch.device
    threads: int = 1
    cpu_group: dist.ProcessGroup | None = None
    store: Any = None  # torch.distributed.Store, a name that type checkers do not find

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the only one that writes files and prints."""
        return self.rank == 0

    @property
    def on_gpu(self) -> bool:
        """Whether this rank computes on a GPU."""
        return self.device.type == "cuda"

    @property
    def pinned_bytes(self) -> int:
        """How much page-locked memory the batches of this rank may take; 0 on a CPU, which needs none."""
        return int(PINNED_SHARE * memory_limit() / self.local_world_size) if self.on_gpu else 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum `values` element-wise over all ranks, in place. Must be called on all ranks."""
        return self.start_sum(values)()

    def start_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
        """Start `sum`. Returns a function that waits for the other ranks, if they have not been waited for."""
        work = dist.all_reduce(values, async_op=True) if self.world_size > 1 else None

        def wait() -> torch.Tensor:
            nonlocal work
            if work is not None:
                work.wait()
                work = None
            return values

        return wait

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set on any rank. Must be called on all ranks; all get the same result."""
        return self.start_any(*flags)()

    def start_any(self, *flags: bool) -> Callable[[], list[bool]]:
        """Start `any`. Returns a function that waits for the other ranks and returns the result."""
        if self.world_size == 1:
            return lambda: list(flags)
        counts = torch.tensor(flags, dtype=torch.int32)
        work = dist.all_reduce(counts, group=self.cpu_group, async_op=True)

        def wait() -> list[bool]:
            work.wait()
            return [bool(count) for count in counts.tolist()]

        return wait

    def union(self, names: Set[str]) -> set[str]:
        """The union of `names` over all ranks. Must be called on all ranks."""
        if self.world_size == 1:
            return set(names)
        gathered: list[Set[str]] = [set()] * self.world_size
        dist.all_gather_object(gathered, names, group=self.cpu_group)
        return set().union(*gathered)

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Broadcast the buffers of rank 0: batch norm statistics differ between ranks after a training step."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait until all ranks have called it."""
        if self.world_size > 1:
            dist.barrier(group=self.cpu_group)

    def leave(self) -> None:
        """Wait for all ranks and destroy the group, so that its threads end.

        A gloo thread needs the GIL to free a tensor, and aborts the process if the interpreter is being finalized at
        that moment. Threads end with the last reference to their group: DDP holds one, in a cycle.
        """
        with suppress(RuntimeError):  # another rank may have ended already
            self.wait()
        self.cpu_group = self.store = None
        dist.destroy_process_group()
        gc.collect()

    def publish_failure(self, error: Exception) -> None:
        """Publish the error with which this rank ends in the store, for the other ranks to report."""
        if self.store:
            with suppress(RuntimeError):  # the store's host is gone
                publish(self.store, error)

    @contextmanager
    def detect_lost_peers(self, end: Callable[[PeerLostError], None]) -> Iterator[None]:
        """Turn an error caused by another rank into a `PeerLostError` that names the rank or the reason.

        If this thread does not notice that another rank has failed, `end` is called with the error in another thread,
        and the process ends with exit code 1.
        """
        watch = PeerWatch(self.store, end) if self.store else None
        try:
            yield
        except RuntimeError as error:
            if watch:
                watch.stop()
            words = str(error)
            from_peer = any(word in words for word in ("gloo", "NCCL", "Connection", "pair"))
            if self.world_size == 1 or not from_peer or is_out_of_memory(error):
                raise
            raise self._lost_peer_error(words) from error
        finally:
            if watch:
                watch.stop()

    def _lost_peer_error(self, words: str) -> PeerLostError:
        missing = self._missing_ranks() if "imed out" in words or "timeout" in words else []
        with suppress(RuntimeError):  # the store's host is gone
            if self.store and (error := published(self.store)):
                return error
        if missing:
            names = " and ".join(f"rank {rank}" for rank in missing)
            return PeerLostError(
                f"{names} did not respond in time; check why in its log, and start the run again to resume"
            )
        return PeerGoneError("another rank has ended; check its log for the reason, and start the run again to resume")

    def _missing_ranks(self) -> list[int]:
        """The ranks that have not reported within `RANK_ANSWER_S` that they timed out too."""
        keys = [f"waited/{rank}" for rank in range(self.world_size)]
        try:
            self.store.set(keys[self.rank], "")
            until = time.monotonic() + RANK_ANSWER_S
            while not self.store.check(keys) and time.monotonic() < until:
                time.sleep(0.1)
            return [rank for rank, key in enumerate(keys) if not self.store.check([key])]
        except RuntimeError:  # rank 0 hosts the store, unless torchrun does
            return [0]


class DelayedAny:
    """`Ranks.any` for every step: with several ranks, a call returns the result of the previous one, without waiting.

    The result of the first call is that no flag is set.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._previous: Callable[[], list[bool]] | None = None

    def __call__(self, *flags: bool) -> list[bool]:
        current = self._ranks.start_any(*flags)
        if self._ranks.world_size == 1:
            return current()
        previous, self._previous = self._previous, current
        return previous() if previous else [False] * len(flags)
