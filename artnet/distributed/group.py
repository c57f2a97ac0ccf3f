"""Join the ranks that train one run, started by torchrun. A single process needs no environment variables."""

import os
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from shards.errors import UserError

from ..errors import FailedError, OutOfMemoryError, PeerLostError, StoppedOnRequest, is_out_of_memory
from .device import choose_device
from .placement import FEWEST_CPUS, MOST_THREADS, Place, check_gpus, cpus_of, local_ranks
from .ranks import RANK_ANSWER_S, Ranks
from .world import World

TIMEOUT_S = 600.0  # how long ranks wait for one another, unless ARTNET_TIMEOUT_S is set


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
