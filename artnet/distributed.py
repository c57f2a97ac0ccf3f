"""The processes that train one run together. torchrun sets their variables; a single process needs none."""

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

TIMEOUT_S = 600.0  # how long ranks wait for one another; ARTNET_TIMEOUT_S says otherwise
RANK_ANSWER_S = 10.0  # how long ranks that timed out wait for one another to report it

_FAILED = "failed"  # the store's key under which a rank that fails leaves the reason to the others


@dataclass
class Ranks:
    """This process among its peers, and its device.

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
        """The element-wise sum of `values` over all ranks, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether it holds on any rank: the same answer on all of them."""
        if self.world_size == 1:
            return list(flags)
        counts = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(counts, group=self.cpu_group)
        return [bool(count) for count in counts.tolist()]

    def union(self, names: Set[str]) -> set[str]:
        """The names that any rank has. Every rank must call it."""
        if self.world_size == 1:
            return set(names)
        gathered: list[Set[str]] = [set()] * self.world_size
        dist.all_gather_object(gathered, names, group=self.cpu_group)
        return set().union(*gathered)

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Broadcast the buffers of rank 0: the statistics of batch norms differ between ranks after a training step."""
        if self.world_size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Return when every rank is here."""
        if self.world_size > 1:
            dist.barrier(group=self.cpu_group)

    def leave(self) -> None:
        """Wait for every rank and leave the group, so that its threads end.

        A gloo thread needs the interpreter's lock to free a tensor, and aborts the process if the interpreter is being
        finalized at that moment. Threads end with the last reference to their group: DDP holds one, in a cycle.
        """
        with suppress(RuntimeError):  # a rank that has ended need not be waited for
            self.wait()
        self.cpu_group = self.store = None
        dist.destroy_process_group()
        gc.collect()

    def publish_failure(self, error: Exception) -> None:
        """Publish in the store why this rank ends, for the other ranks to report."""
        if self.store:
            with suppress(RuntimeError):  # the store's host is gone
                self.store.set(_FAILED, f"{type(error).__name__}: {error}")

    @contextmanager
    def detect_lost_peers(self) -> Iterator[None]:
        """Turn an error that another rank caused into `PeerLostError`, which names the rank or its reason."""
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
                f"{names} did not answer in time; see what it waits for, and start the run again to go on"
            )
        return PeerGoneError("another rank has ended; its own last words say why, start the run again to go on")

    def _missing_ranks(self) -> list[int]:
        """The ranks that do not report within `RANK_ANSWER_S` that they timed out too."""
        keys = [f"waited/{rank}" for rank in range(self.world_size)]
        try:
            self.store.set(keys[self.rank], "")
            until = time.monotonic() + RANK_ANSWER_S
            while not self.store.check(keys) and time.monotonic() < until:
                time.sleep(0.1)
            return [rank for rank, key in enumerate(keys) if not self.store.check([key])]
        except RuntimeError:  # it is kept by rank 0 where torchrun does not keep it
            return [0]


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the peers named by RANK, WORLD_SIZE and MASTER_ADDR: nccl on GPUs, gloo on CPUs.

    Raises `UserError` if the variables are not integers, `PeerLostError` if not all join within ARTNET_TIMEOUT_S.
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
    timeout = timedelta(seconds=_timeout_s())
    # DDP imports it. If that happens once the group exists, default arguments there hold the group for good.
    from torch import _dynamo  # noqa: F401

    try:
        shared, _, _ = next(rendezvous("env://", timeout=timeout))
        # torchrun keeps one store for all restarts: entries of an earlier restart are out of date.
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"restart{restart}", shared)  # type: ignore[attr-defined]
        store.set_timeout(timeout)
        # A GPU's group is cut off by aborting the process: let the CPUs notice first, they can say who it was.
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
            f"rank {rank} did not find the other {world_size - 1} within {timeout.total_seconds():g} s or lost them "
            f"again ({str(error).splitlines()[0]})"
        ) from error
    joined = replace(ranks, cpu_group=cast(dist.ProcessGroup, cpu_group), store=store)
    del cpu_group, shared, store
    try:
        yield joined
    except StoppedOnRequest as stopped:  # on every rank
        traceback.clear_frames(stopped.__traceback__)  # they hold the group
        joined.leave()
        raise
    # Not after other errors: a GPU may be waiting for a rank that is gone, and the end of the process is as good.
    joined.leave()


def _timeout_s() -> float:
    written = os.environ.get("ARTNET_TIMEOUT_S", str(TIMEOUT_S))
    try:
        seconds = float(written)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UserError(f"ARTNET_TIMEOUT_S {written!r} must be a number of seconds above 0")
    return seconds
