"""Worker processes that end with their parent, however it ends."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def each(work: Callable[[Item], Done], items: Sequence[Item]) -> Iterator[Iterator[Done]]:
    """Do `work` on every item on all cores; the block gets the results in the order of the items.

    `work` and the items travel to processes that import the caller's main module. Ctrl-C is for the caller alone.
    """
    # spawn: a progress bar runs a thread, and a forked thread's locks stay locked
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(cores(), context, initializer=_follow_parent)
    # The workers start here and inherit the mask.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        results = pool.map(work, items, chunksize=16)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield results
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Make this worker end when its parent has been killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
