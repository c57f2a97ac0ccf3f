"""The processes that train one run together, started by torchrun. A single process needs no environment variables."""

import gc
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous

from shards.errors import UserError
from shards.workers import memory_limit

from .device import choose_device
from .errors import FailedError, OutOfMemoryError, PeerGoneError, PeerLostError, StoppedOnRequest, is_out_of_memory
from .peers import PeerWatch, publish, published
from .placement import FEWEST_CPUS, MOST_THREADS, PINNED_SHARE, Place, check_gpus, cpus_of, local_ranks
from .world import World

TIMEOUT_S = 600.0  # how long ranks wait for one another, unless ARTNET_TIMEOUT_S is set
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


@contextmanager
def process_group() -> Iterator[Ranks]:
    """Join the process group given by RANK, WORLD_SIZE and MASTER_ADDR: NCCL on GPUs, gloo on CPUs.

    Raises `UserError` if a variable is not a valid number or two ranks have one GPU, and `PeerLostError` if not all
    ranks join within ARTNET_TIMEOUT_S seconds.
    """
    world = World.from_environment()
    device = choose_device(world.local_rank)
    ranks = Ranks(world.rank, world.world_size, world.local_world_size, device)
    if world.world_size == 1:
        yield _placed(ranks, [Place.here(device)])
        return
    joined = _join(ranks, timedelta(seconds=_timeout_s()))
    try:
        yield joined
    except StoppedOnRequest as stopped:  # on every rank
        traceback.clear_frames(stopped.__traceback__)  # they reference the group
        joined.leave()
        raise
    # Not after other errors: a GPU may be waiting for a rank that has ended, and the process ends anyway.
    joined.leave()


def _join(ranks: Ranks, timeout: timedelta) -> Ranks:
    # DDP imports it. If that happens after the group is created, default arguments there keep the group alive.
    from torch import _dynamo  # noqa: F401

    if name := gloo_interface(os.environ, [name for _, name in socket.if_nameindex()]):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    try:
        shared, _, _ = next(rendezvous("env://", timeout=timeout))
        # torchrun keeps one store for all restarts: entries of an earlier restart are out of date.
        restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = dist.PrefixStore(f"restart{restart}", shared)  # type: ignore[attr-defined]
        store.set_timeout(timeout)
        placed = _placed(ranks, _exchange(store, ranks))
        # A timeout of the NCCL group aborts the process: the CPU group should time out first, and report which rank.
        dist.init_process_group(
            "nccl" if ranks.on_gpu else "gloo",
            store=store,
            rank=ranks.rank,
            world_size=ranks.world_size,
            timeout=2 * timeout if ranks.on_gpu else timeout,
            device_id=ranks.device if ranks.on_gpu else None,
        )
        cpu_group = dist.new_group(backend="gloo", timeout=timeout)
    except RuntimeError as error:
        raise _join_error(ranks, timeout, error) from error
    return replace(placed, cpu_group=cast(dist.ProcessGroup, cpu_group), store=store)


def _exchange(store: Any, ranks: Ranks) -> list[Place]:
    """The places of all ranks. Raises `UserError` on all of them if two have one GPU."""
    store.set(f"place/{ranks.rank}", Place.here(ranks.device).dumps())
    places = [Place.loads(text) for text in store.multi_get([f"place/{rank}" for rank in range(ranks.world_size)])]
    try:
        check_gpus(places)
    except UserError:
        store.set(f"checked/{ranks.rank}", "")
        if ranks.is_first:  # which may host the store
            with suppress(RuntimeError):
                store.wait([f"checked/{rank}" for rank in range(ranks.world_size)], timedelta(seconds=RANK_ANSWER_S))
        raise
    return places


def _placed(ranks: Ranks, places: Sequence[Place]) -> Ranks:
    """The same ranks, with this rank's share of its host."""
    cpus = [cpus_of(places, rank) for rank in range(len(places))]
    fewest = min(range(len(places)), key=cpus.__getitem__)
    here = local_ranks(places, ranks.rank)
    if ranks.on_gpu and ranks.is_first and (idle := torch.cuda.device_count() - here) > 0:
        print(
            f"warning: {idle} of the {here + idle} GPUs that this training may use are idle, as a rank uses one; "
            f"start {here + idle} ranks on each machine, with torchrun --nproc-per-node={here + idle}",
            file=sys.stderr,
            flush=True,
        )
    if ranks.on_gpu and ranks.is_first and cpus[fewest] < FEWEST_CPUS:
        print(
            f"warning: {cpus[fewest]} CPU{'s'[: cpus[fewest] > 1]} for the GPU of rank {fewest}: reading paintings may "
            f"take longer than training on them; ask for at least {FEWEST_CPUS} CPUs for each GPU",
            file=sys.stderr,
            flush=True,
        )
    return replace(ranks, local_world_size=here, threads=min(MOST_THREADS, cpus[ranks.rank]))


def _join_error(ranks: Ranks, timeout: timedelta, error: RuntimeError) -> UserError | FailedError:
    """Say why ranks could not join. The reason that NCCL gives is in its last line."""
    lines = str(error).splitlines() or [type(error).__name__]
    if "Duplicate GPU" in str(error):
        return UserError(f"two ranks have one GPU ({lines[-1].strip()}); start at most one rank for each GPU")
    if is_out_of_memory(error):
        return OutOfMemoryError(f"no memory is left on {ranks.device} to connect the ranks ({lines[-1].strip()})")
    return PeerLostError(
        f"rank {ranks.rank} could not connect to the other {ranks.world_size - 1} ranks within "
        f"{timeout.total_seconds():g} s, or lost the connection ({lines[-1 if 'NCCL' in lines[0] else 0].strip()})"
    )


def gloo_interface(environment: Mapping[str, str], interfaces: Sequence[str]) -> str:
    """The network interface for gloo that NCCL_SOCKET_IFNAME names; empty if it names none of `interfaces` exactly.

    Without one, gloo takes the interface of the host's own name, which on some systems is 127.0.1.1. NCCL's variable
    may also be a prefix or, after a `^`, what to avoid, and begin with `=`.
    """
    name = environment.get("NCCL_SOCKET_IFNAME", "").removeprefix("=").split(",")[0]
    return name if name in interfaces else ""


def _timeout_s() -> float:
    value = os.environ.get("ARTNET_TIMEOUT_S", str(TIMEOUT_S))
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UserError(f"ARTNET_TIMEOUT_S {value!r} must be a positive number of seconds")
    return seconds
