"""A run's checkpoints as its ranks see them: the first one reads and writes for all, and all know how it went."""

import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from shards.errors import UserError

from .. import checkpoint
from ..checkpoint import BEST, LAST, PREVIOUS
from ..distributed import Ranks
from ..errors import SavingError, os_error_message
from ..rundir import RunDir

CHECKPOINT_VERSION = 3
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
                f"{self._name}: warning: no checkpoint could be saved ({os_error_message(self._error)}); "
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
                f"no checkpoint could be saved ({os_error_message(self._error)}); the one before stands: "
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


class CheckpointManager:
    """Reads the checkpoints of a run at its start and has new ones written while it trains."""

    def __init__(self, run: RunDir, signature: str, data: str, ranks: Ranks) -> None:
        """`signature` is the configuration's, `data` the fingerprint of the shards: a checkpoint fits both or none."""
        self._run, self._ranks = run, ranks
        self._identity = {"version": CHECKPOINT_VERSION, "signature": signature, "data": data}
        self._writer: CheckpointWriter | None = None

    def resume(self) -> dict[str, Any] | None:
        """The state to go on from, on the rank's device; None at a run's beginning.

        Raises `UserError` if there are checkpoints, but none that can be read or is of this run.
        """
        folder = self._run.checkpoints
        found = checkpoint.load_newest(folder, self._ranks.device)
        if self._ranks.is_first:
            self._writer = CheckpointWriter(folder, self._run.name, last_is_good=found is not None and not found[1])
        if found is None:
            return None
        state, wrong = found
        version = state.get("version")
        if isinstance(version, int) and version > CHECKPOINT_VERSION:
            raise UserError(
                f"{folder} was made by a newer artnet (format {version}; this one reads up to {CHECKPOINT_VERSION}); "
                "update artnet"
            )
        if {key: state.get(key) for key in self._identity} != self._identity:
            raise UserError(f"{folder} belongs to another configuration or other shards; choose another --run-dir")
        if wrong:
            self._say(f"{wrong[0]}; going on from {PREVIOUS}, step {state['progress']['step']}")
        return state

    def best(self, epoch: int) -> dict[str, Any] | None:
        """What `best.pt` holds, on the rank's device, if it can be read and is of that epoch."""
        try:
            state = checkpoint.load(self._run.checkpoints / BEST, self._ranks.device)
        except checkpoint.BrokenError:
            return None
        return state if state and state["progress"]["best_epoch"] == epoch else None

    def ensure_best(self, progress: dict[str, Any], model: dict[str, torch.Tensor], is_it: bool) -> None:
        """Write `best.pt` if it is missing after a resume: `model` is what is resumed, `is_it` whether it is the best.

        Only the first rank writes; it warns if the best weights are lost.
        """
        if not self._ranks.is_first or not progress["best_epoch"] or self.best(progress["best_epoch"]):
            return
        if is_it:
            checkpoint.save(self._run.checkpoints / BEST, {**self._identity, "progress": progress, "model": model})
        else:
            self._say(
                f"warning: {self._run.checkpoints / BEST}, the weights of epoch {progress['best_epoch']}, is missing "
                "or broken: unless a later epoch is better, the run cannot be tested"
            )

    def save(
        self, progress: dict[str, Any], learner: dict[str, Any], model: dict[str, torch.Tensor] | None = None
    ) -> None:
        """Have `last.pt` written with the learner's state, and `best.pt` with a `model` if that is the best so far."""
        if self._writer:
            head = {**self._identity, "progress": progress}
            self._writer.save({**head, "learner": learner}, {**head, "model": model} if model is not None else None)

    def has_given_up(self) -> bool:
        """Whether saving has failed for so long that the run must end. Known to the first rank only."""
        return self._writer is not None and self._writer.has_given_up()

    def finish(self) -> None:
        """Return when everything is on disk. Every rank must call it. Raises on all of them if it cannot be."""
        if self._writer:
            self._writer.wait()
        if any(self._ranks.any(self._writer is not None and self._writer.has_failed())):
            self.raise_error()

    def raise_error(self) -> None:
        """Raise why nothing could be saved."""
        if self._writer:
            self._writer.raise_error()
        raise SavingError("the first rank could not save a checkpoint")

    def close(self) -> None:
        """Finish what is being written, without raising its error."""
        if self._writer:
            self._writer.close()

    def _say(self, what: str) -> None:
        if self._ranks.is_first:
            print(f"{self._run.name}: {what}", file=sys.stderr, flush=True)
