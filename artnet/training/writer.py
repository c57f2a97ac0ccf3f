"""Saving while the training goes on: a snapshot is taken between two steps, a thread writes it."""

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from .. import checkpoint
from ..checkpoint import BEST, LAST, PREVIOUS
from ..errors import SavingError

PATIENCE = 3  # checkpoints in a row that may fail before the run ends: there may be room again soon


def snapshot(value: Any) -> Any:
    """A copy in CPU memory of tensors in nested dicts and lists: the training may go on and change the original."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(snapshot(item) for item in value)
    return value


class CheckpointWriter:
    """Writes a run's checkpoints, at most one at a time; `last.pt` becomes `previous.pt` when its successor is safe.

    A file system that refuses, as a full one does, is waited for: what was written before stands.
    """

    def __init__(self, folder: Path, name: str, last_is_good: bool) -> None:
        """Write to `folder` for the run `name`. A `last.pt` that is not good does not become `previous.pt`."""
        self._folder, self._name, self._last_is_good = folder, name, last_is_good
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._owed: dict[str, Any] | None = None  # a best epoch that is not on disk yet
        self._failures = 0
        self._error: BaseException | None = None

    def save(self, last: Mapping[str, Any], best: Mapping[str, Any] | None = None) -> None:
        """Write `last.pt`, and `best.pt` if it is given, after what is being written now."""
        self.wait()
        copies = snapshot(last), None if best is None else snapshot(best)
        self._writing = self._pool.submit(self._write, *copies)

    def wait(self) -> None:
        """Return when nothing is being written any more."""
        if self._writing is None:
            return
        self._error, self._writing = self._writing.exception(), None
        self._failures = self._failures + 1 if self._error else 0
        if isinstance(self._error, OSError) and self._failures == 1:
            print(
                f"{self._name}: warning: no checkpoint could be saved ({_refusal(self._error)}); "
                "the one before stands, and the training goes on: make room",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Finish what is being written and end the thread."""
        self.wait()
        self._pool.shutdown()

    def has_given_up(self) -> bool:
        """Whether saving has failed for too long, or for another reason than the file system's."""
        if self._writing is not None and self._writing.done():
            self.wait()
        return self.has_failed() and (self._failures >= PATIENCE or not isinstance(self._error, OSError))

    def has_failed(self) -> bool:
        """Whether the checkpoint written last is not on disk."""
        return self._error is not None

    def raise_error(self) -> None:
        """Raise what the last failure means for the run: `SavingError` if the file system refused."""
        if isinstance(self._error, OSError):
            raise SavingError(
                f"no checkpoint could be saved ({_refusal(self._error)}); the one before stands: "
                "make room and start it again to go on from there"
            )
        if self._error:
            raise self._error

    def _write(self, last: dict[str, Any], best: dict[str, Any] | None) -> None:
        if best is not None:
            self._owed = best
        else:
            self._write_best()
        checkpoint.save(self._folder / LAST, last, self._folder / PREVIOUS if self._last_is_good else None)
        self._last_is_good = True
        # In this order: a kill in between leaves a last.pt that is the best, from which a resume makes it again.
        self._write_best()

    def _write_best(self) -> None:
        if self._owed is not None:
            checkpoint.save(self._folder / BEST, self._owed)
            self._owed = None


class Indulgence:
    """Metrics may fail to be written, as on a full disk: it is said once, and the run goes on."""

    def __init__(self, name: str) -> None:
        self._name, self._spoken = name, False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Let the block fail as the file system refuses."""
        try:
            yield
        except OSError as error:
            if not self._spoken:
                self._spoken = True
                print(
                    f"{self._name}: warning: metrics could not be written ({_refusal(error)}); the training goes on",
                    file=sys.stderr,
                    flush=True,
                )


def _refusal(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
