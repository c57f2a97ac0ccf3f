"""The processes that train one run together, started by torchrun. A single process needs no environment variables."""

import gc
import os
import time
import traceback
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous

from shards.errors import UserError

from .errors import PeerGoneError, PeerLostError, StoppedOnRequest

TIMEOUT_S = 600.0  # how long ranks wait for one another, unless ARTNET_TIMEOUT_S is set
RANK_ANSWER_S = 10.0  # how long ranks that timed out wait for one another to report it

_FAILED = "failed"  # the store's key for the reason of a rank that fails, for the other ranks


@dataclass
class Ranks:
    """The rank of this process, its process groups and its device.

    `cpu_group` is for collectives that need not wait for a GPU. `store` still works when a group is broken.
    """

    rank: int
    world_size: int
    local_world_size: int
    device: torch.device
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

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Sum `values` element-wise over all ranks, in place. Must be called on all ranks."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it is set on any rank. Must be called on all ranks; all get the same result."""
        if self.world_size == 1:
            return list(flags)
        counts = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(counts, group=self.cpu_group)
        return [bool(count) for count in counts.tolist()]

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
                self.store.set(_FAILED, f"{type(error).__name__}: {error}")

    @contextmanager
    def detect_lost_peers(self) -> Iterator[None]:
        """Turn an error caused by another rank into a `PeerLostError` that names the rank or the reason."""
        try:
            yield
        except RuntimeError as error:
            words = str(error)
            if self.world_size == 1 or not any(word in words for word in ("gloo", "NCCL", "Connection", "pair")):
                raise
            raise self._lost_peer_error(words) from error

    def _lost_peer_error(self, words: str) -> PeerLostError:
        missing = self._missing_ranks() if "imed out" in words or "timeout" in words else []
        try:
            if self.store and self.store.check([_FAILED]):
                return PeerLostError(f"another rank failed: {self.store.get(_FAILED).decode()}")
        except RuntimeError:  # the store's host is gone
            pass
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


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the process group given by RANK, WORLD_SIZE and MASTER_ADDR: NCCL on GPUs, gloo on CPUs.

    Raises `UserError` if a variable is not a valid number, and `PeerLostError` if not all ranks join within
    ARTNET_TIMEOUT_S seconds.
    """
    try:
        rank, local_rank = (int(os.environ.get(name, 0)) for name in ("RANK", "LOCAL_RANK"))
        world_size, local_world_size = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    except ValueError as error:
        raise UserError(
            f"RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE must be integers ({error}); use torchrun"
        ) from None
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    # A scheduler may make only its own GPU visible to each process: then it is number 0 for every local rank.
    device = torch.device("cuda", local_rank % gpus) if gpus else torch.device("cpu")
    if gpus:
        torch.cuda.set_device(device)
    ranks = Ranks(rank, world_size, local_world_size, device)
    if world_size == 1:
        yield ranks
        return
    timeout = timedelta(seconds=_timeout_s())
    # DDP imports it. If that happens after the group is created, default arguments there keep the group alive.
    from torch import _dynamo  # noqa: F401

    try:
        shared, _, _ = next(rendezvous("env://", timeout=timeout))
        # torchrun keeps one store for all restarts: entries of an earlier restart are out of date.
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"restart{restart}", shared)  # type: ignore[attr-defined]
        store.set_timeout(timeout)
        # A timeout of the NCCL group aborts the process: the CPU group should time out first, and report which rank.
        dist.init_process_group(
            "nccl" if gpus else "gloo",
            store=store,
            rank=rank,
            world_size=world_size,
            timeout=2 * timeout if gpus else timeout,
            device_id=device if gpus else None,
        )
        cpu_group = dist.new_group(backend="gloo", timeout=timeout)
    except RuntimeError as error:
        raise PeerLostError(
            f"rank {rank} could not connect to the other {world_size - 1} ranks within {timeout.total_seconds():g} s, "
            f"or lost the connection ({str(error).splitlines()[0]})"
        ) from error
    joined = replace(ranks, cpu_group=cast(dist.ProcessGroup, cpu_group), store=store)
    del cpu_group, shared, store
    try:
        yield joined
    except StoppedOnRequest as stopped:  # on every rank
        traceback.clear_frames(stopped.__traceback__)  # they reference the group
        joined.leave()
        raise
    # Not after other errors: a GPU may be waiting for a rank that has ended, and the process ends anyway.
    joined.leave()


def _timeout_s() -> float:
    value = os.environ.get("ARTNET_TIMEOUT_S", str(TIMEOUT_S))
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UserError(f"ARTNET_TIMEOUT_S {value!r} must be a positive number of seconds")
    return seconds
