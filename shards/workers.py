"""Worker processes that end when their parent ends, even if it is killed."""

import contextlib
import math
import multiprocessing
import os
import signal
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
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no limit, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


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
