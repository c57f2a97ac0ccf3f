"""Watch for the failure of another rank while this one cannot look: its main thread may be blocked in native code."""

import os
import threading
from collections.abc import Callable
from typing import Any

import torch.distributed as dist

from ..errors import PeerGoneError, PeerLostError

POLL_S = 1.0  # how often the store is asked
NOTICE_S = 10.0  # how long the main thread has to notice the failure itself

_FAILED = "failed"  # the store's key for the reason of the first rank that fails


def publish(store: Any, error: BaseException) -> None:
    """Publish the error with which this rank ends in the store, for the other ranks to report."""
    store.set(_FAILED, f"{type(error).__name__}: {error}")


def published(store: Any) -> PeerLostError | None:
    """The error that another rank has published, if any. Raises `RuntimeError` if the store is gone."""
    return PeerLostError(f"another rank failed: {store.get(_FAILED).decode()}") if store.check([_FAILED]) else None


class PeerWatch:
    """A thread that ends this process if another rank has failed and the main thread does not notice it.

    More kernels than a GPU's queue holds block the main thread inside a launch, where it waits for a GPU that waits for
    the rank that has failed.
    """

    def __init__(self, store: Any, end: Callable[[PeerLostError], None]) -> None:
        """`end` is called with the error in the thread of the watch; then the process ends with exit code 1."""
        self._store = store.clone()  # a connection of its own: the main thread may be waiting for an answer
        self._end = end
        self._over = threading.Event()
        self._acting = threading.Lock()
        self._thread = threading.Thread(target=self._watch, name="peers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch. If it has begun to end the process, this does not return."""
        self._over.set()
        with self._acting:
            pass
        self._thread.join(POLL_S)

    def _watch(self) -> None:
        error: PeerLostError | None = None
        while not error:
            if self._over.wait(POLL_S):
                return
            try:
                error = published(self._store)
            except dist.DistNetworkError:
                error = PeerGoneError("the process that connects the ranks has ended; start the run again to resume")
            except RuntimeError:  # no answer in time
                continue
        if self._over.wait(NOTICE_S):
            return
        with self._acting:
            if self._over.is_set():
                return
            try:
                self._end(error)
            finally:
                os._exit(1)
