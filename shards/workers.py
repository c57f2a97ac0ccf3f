"""Worker processes that end when their parent ends, even if it is killed."""

import contextlib
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from .errors import UserError

CHUNK_SIZE = 8  # items that are sent to a worker at once
MAX_PENDING = 256  # chunks that are submitted and not yet consumed, to bound the memory that results take

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many processor cores this process may use, by its affinity and its container's CPU limit."""
    return min(len(affinity()), cpu_quota() or sys.maxsize)


def affinity() -> frozenset[int]:
    """Return the numbers of the processor cores on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def cpu_quota() -> int | None:
    """Return the CPU limit of this process's container, rounded up to whole cores; None if there is none."""
    limits = []
    for text in _cgroup("cpu.max"):
        with contextlib.suppress(ValueError):  # "max"
            quota, period = map(int, text.split())
            limits.append(max(1, math.ceil(quota / period)))
    return min(limits, default=None)


def memory_limit() -> int:
    """Return the bytes of memory that this machine has, or fewer if this process's container is limited to fewer."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    limits += [int(text) for text in _cgroup("memory.max") if text.strip().isdigit()]  # else "max"
    return min(limits)


def _cgroup(name: str) -> list[str]:
    """Read a file of the control group of this process and of all groups around it (version 2)."""
    own = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), "")
    root, found = Path("/sys/fs/cgroup"), []
    for folder in (root / own, *(root / parent for parent in Path(own).parents)):
        with contextlib.suppress(OSError):
            found.append((folder / name).read_text())
    return found


@contextlib.contextmanager
def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int | None = None
) -> Iterator[Iterator[Result]]:
    """Call `function` on every item in worker processes; the block gets the results in the order of the items.

    `workers` is one per core by default. `function` and the items are pickled for processes that import the caller's
    main module. Ctrl-C reaches only the caller. Raises `UserError` if a worker is killed.
    """
    count = workers or cores()
    # "spawn", because a progress bar runs a thread, and a lock that a thread holds stays locked after a fork
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_follow_parent)
    try:
        yield _in_order(pool, function, items, max(MAX_PENDING, 2 * count))
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed, most likely because memory ran out; "
            "start again with more memory or fewer workers: finished work is kept"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item], max_pending: int
) -> Iterator[Result]:
    pending: deque[Future[list[Result]]] = deque()
    for start in range(0, len(items), CHUNK_SIZE):
        # `submit` starts the workers, which inherit the signal mask.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            pending.append(pool.submit(_map_chunk, function, items[start : start + CHUNK_SIZE]))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if len(pending) == max_pending:
            yield from pending.popleft().result()
    while pending:
        yield from pending.popleft().result()


def _map_chunk(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _follow_parent() -> None:
    """Make this worker process end when its parent is killed, instead of waiting for work forever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
