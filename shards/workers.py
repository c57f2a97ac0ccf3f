"""Worker processes that end with their parent, however it ends."""

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

CHUNK = 8  # items that travel to a worker at once
AHEAD = 256  # chunks under way at most, done ones included, so that results never pile up

Item = TypeVar("Item")
Done = TypeVar("Done")


def cores() -> int:
    """The processor cores that this process may use: its affinity, and what a container's CPU limit comes to."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no such limit, or "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, math.ceil(int(quota) / int(period))))
    return count


@contextlib.contextmanager
def each(work: Callable[[Item], Done], items: Sequence[Item], workers: int | None = None) -> Iterator[Iterator[Done]]:
    """Do `work` on every item in processes, one a core by default; the block gets the results in the items' order.

    `work` and the items travel to processes that import the caller's main module. Ctrl-C is for the caller alone.
    Raises `UserError` if a worker is killed.
    """
    count = workers or cores()
    # spawn: a progress bar runs a thread, and a forked thread's locks stay locked
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_follow_parent)
    try:
        yield _in_order(pool, work, items, max(AHEAD, 2 * count))
    except BrokenProcessPool:
        raise UserError(
            "a worker process was killed, most likely as memory ran out; "
            "start again with more memory or fewer workers: what is done stays"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[Item], Done], items: Sequence[Item], ahead: int
) -> Iterator[Done]:
    pending: deque[Future[list[Done]]] = deque()
    for start in range(0, len(items), CHUNK):
        # Workers start when there is work for them, and inherit the mask.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            pending.append(pool.submit(_do, work, items[start : start + CHUNK]))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if len(pending) == ahead:
            yield from pending.popleft().result()
    while pending:
        yield from pending.popleft().result()


def _do(work: Callable[[Item], Done], items: Sequence[Item]) -> list[Done]:
    return [work(item) for item in items]


def _follow_parent() -> None:
    """Make this worker end when its parent has been killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
