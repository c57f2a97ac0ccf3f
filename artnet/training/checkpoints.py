"""The checkpoints of a run in training: rank 0 writes them in the background, and all ranks learn of failures."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from shards.errors import UserError

from .. import checkpoint
from ..checkpoint import BEST, LAST, PREVIOUS
from ..distributed.ranks import Ranks
from ..errors import SavingError, os_error_message
from ..rundir import RunDir

CHECKPOINT_VERSION = 3
PATIENCE = 3  # failed checkpoints in a row after which the run ends: a full disk may have space again soon


def snapshot(value: Any) -> Any:
    """Copy nested dicts and lists of tensors to CPU memory, so that the training can change the originals."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(snapshot(item) for item in value)
    return value


class CheckpointWriter:
    """Writes a run's checkpoints, one at a time; `last.pt` becomes `previous.pt` once its successor is on disk.

    Failures of the file system, such as a full disk, are tolerated for a while: the last checkpoint on disk is kept.
    """

    def __init__(self, folder: Path, name: str, last_is_good: bool, check: Callable[[], None] = lambda: None) -> None:
        """Write to `folder` for the run `name`. Unless `last_is_good`, `last.pt` does not become `previous.pt`.

        `check` is called before every write, and raises an error where nothing may be written.
        """
        self._folder, self._name, self._last_is_good, self._check = folder, name, last_is_good, check
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        self._pending_best: dict[str, Any] | None = None  # not on disk yet
        self._failures = 0
        self._error: BaseException | None = None

    def save(self, last: Mapping[str, Any], best: Mapping[str, Any] | None = None) -> None:
        """Write `last.pt`, and `best.pt` if `best` is given, in the background. Waits for the previous call's files."""
        self.wait()
        copies = snapshot(last), None if best is None else snapshot(best)
        self._writing = self._pool.submit(self._write, *copies)

    def wait(self) -> None:
        """Wait until the files of the last `save` are written or have failed."""
        if self._writing is None:
            return
        self._error, self._writing = self._writing.exception(), None
        self._failures = self._failures + 1 if self._error else 0
        if isinstance(self._error, OSError) and self._failures == 1:
            print(
                f"{self._name}: warning: no checkpoint could be saved ({os_error_message(self._error)}); "
                f"{'the previous one is kept' if self._has_one else 'there is none yet'} and the training continues: "
                "free some space",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """Wait for the files being written and end the thread."""
        self.wait()
        self._pool.shutdown()

    def has_given_up(self) -> bool:
        """Whether saving has failed too often in a row, or for a reason other than the file system."""
        if self._writing is not None and self._writing.done():
            self.wait()
        return self.has_failed() and (self._failures >= PATIENCE or not isinstance(self._error, OSError))

    @property
    def _has_one(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return any((self._folder / name).exists() for name in (LAST, PREVIOUS))

    def has_failed(self) -> bool:
        """Whether the last checkpoint could not be written."""
        return self._error is not None

    def raise_error(self) -> None:
        """Raise the last error, if any: a `SavingError` if it is the file system's."""
        if isinstance(self._error, OSError):
            again = "to resume from the previous one" if self._has_one else "from the beginning, as there is none yet"
            raise SavingError(
                f"no checkpoint could be saved ({os_error_message(self._error)}); "
                f"free some space and start the run again {again}"
            )
        if self._error:
            raise self._error

    def _write(self, last: dict[str, Any], best: dict[str, Any] | None) -> None:
        try:
            self._write_both(last, best)
        except OSError:
            self._check()  # the reason may be that the folder has gone
            raise

    def _write_both(self, last: dict[str, Any], best: dict[str, Any] | None) -> None:
        if best is not None:
            self._pending_best = best
        else:
            self._write_best()
        self._check()
        checkpoint.save(self._folder / LAST, last, self._folder / PREVIOUS if self._last_is_good else None)
        self._last_is_good = True
        # In this order: after a kill in between, last.pt is the best epoch, and a resume rewrites best.pt from it.
        self._write_best()

    def _write_best(self) -> None:
        if self._pending_best is not None:
            self._check()
            checkpoint.save(self._folder / BEST, self._pending_best)
            self._pending_best = None


class CheckpointManager:
    """Loads the checkpoints of a run at its start, and saves new ones in the background while it trains."""

    def __init__(self, run: RunDir, signature: str, data: str, ranks: Ranks) -> None:
        """`signature` is the configuration's, `data` the fingerprint of the shards; a checkpoint must match both."""
        self._run, self._ranks = run, ranks
        self._identity = {"version": CHECKPOINT_VERSION, "signature": signature, "data": data}
        self._writer: CheckpointWriter | None = None

    def resume(self) -> dict[str, Any] | None:
        """Load the state to resume from to the rank's device, or return None if there are no checkpoints.

        It has no `learner` where `best.pt` is alone, as when the run was complete and has lost its result.
        Raises `UserError` if no checkpoint can be read, or if they belong to another run or a newer version.
        """
        folder = self._run.checkpoints
        found = checkpoint.load_newest(folder, self._ranks.device)
        if self._ranks.is_first:
            last_is_good = found is not None and not found[1]
            self._writer = CheckpointWriter(folder, self._run.name, last_is_good, self._run.check_exists)
        if found is None:
            return None
        state, wrong = found
        version = state.get("version")
        if isinstance(version, int) and version > CHECKPOINT_VERSION:
            raise UserError(
                f"{folder} was made by a newer artnet (format {version}; this one reads up to {CHECKPOINT_VERSION}); "
                "update artnet"
            )
        other = [key for key in self._identity if state.get(key) != self._identity[key]]
        if other:
            what = "a run on other shards" if other == ["data"] else "another configuration"
            raise UserError(f"{folder} belongs to {what}; choose another --run-dir")
        if wrong:
            self._print(f"{wrong[0]}; resuming from {PREVIOUS}, step {state['progress']['step']}")
        return state

    def best(self, epoch: int) -> dict[str, Any] | None:
        """Load `best.pt` to the rank's device. None if it is missing, broken or of another epoch."""
        try:
            state = checkpoint.load(self._run.checkpoints / BEST, self._ranks.device)
        except checkpoint.BrokenError:
            return None
        return state if state and state["progress"]["best_epoch"] == epoch else None

    def ensure_best(self, progress: dict[str, Any], model: dict[str, torch.Tensor], is_best: bool) -> None:
        """Write `best.pt` if it is missing after a resume. `model` is the resumed state, `is_best` whether it is best.

        Only rank 0 writes; it warns if the best weights are lost.
        """
        if not self._ranks.is_first or not progress["best_epoch"] or self.best(progress["best_epoch"]):
            return
        if is_best:
            checkpoint.save(self._run.checkpoints / BEST, {**self._identity, "progress": progress, "model": model})
        else:
            self._print(
                f"warning: {self._run.checkpoints / BEST}, the weights of epoch {progress['best_epoch']}, is missing "
                "or broken: unless a later epoch is better, the run cannot be tested"
            )

    def save(
        self, progress: dict[str, Any], learner: dict[str, Any], model: dict[str, torch.Tensor] | None = None
    ) -> None:
        """Save `last.pt` with the learner's state, and `best.pt` with `model` if given, in the background."""
        if self._writer:
            head = {**self._identity, "progress": progress}
            self._writer.save({**head, "learner": learner}, {**head, "model": model} if model is not None else None)

    def complete_best(self, best: dict[str, Any], progress: dict[str, Any]) -> bool:
        """Give `best.pt`, loaded as `best`, the progress of the whole run: alone, it can make a lost result again.

        Returns whether it has it. If it cannot be written, as on a full disk, it stays as it was.
        """
        try:
            if best["progress"] != progress:
                checkpoint.save(self._run.checkpoints / BEST, {**snapshot(best), "progress": progress})
        except OSError:
            return False
        return True

    def remove_all_but_best(self) -> None:
        """Remove what a complete run does not need. What cannot be removed stays."""
        with contextlib.suppress(OSError):
            for name in (PREVIOUS, LAST):
                (self._run.checkpoints / name).unlink(missing_ok=True)

    def has_given_up(self) -> bool:
        """Whether saving has failed so often that the run must end. Only rank 0 can tell."""
        return self._writer is not None and self._writer.has_given_up()

    def finish(self) -> None:
        """Wait until everything is on disk. Must be called on all ranks. Raises on all of them if saving failed."""
        if self._writer:
            self._writer.wait()
        if any(self._ranks.any(self._writer is not None and self._writer.has_failed())):
            self.raise_error()

    def raise_error(self) -> None:
        """Raise the error of the last save: on rank 0 as `CheckpointWriter.raise_error`, on others a `SavingError`."""
        if self._writer:
            self._writer.raise_error()
        raise SavingError("rank 0 could not save a checkpoint")

    def close(self) -> None:
        """Wait for the files being written, without raising errors."""
        if self._writer:
            self._writer.close()

    def _print(self, message: str) -> None:
        if self._ranks.is_first:
            print(f"{self._run.name}: {message}", file=sys.stderr, flush=True)
