"""A run's checkpoints as its ranks see them: the first one reads and writes for all, and all know how it went."""

import sys
from typing import Any

import torch

from shards.errors import UserError

from .. import checkpoint
from ..checkpoint import BEST, PREVIOUS
from ..distributed import Ranks
from ..errors import SavingError
from ..rundir import RunDir
from .writer import CheckpointWriter

CHECKPOINT_VERSION = 3


class Saving:
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

    def mend_best(self, progress: dict[str, Any], model: dict[str, torch.Tensor], is_it: bool) -> None:
        """Make sure of `best.pt` after a resume: `model` is what is resumed, and `is_it` whether that is the best."""
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
        """Finish what is being written, whatever comes of it."""
        if self._writer:
            self._writer.close()

    def _say(self, what: str) -> None:
        if self._ranks.is_first:
            print(f"{self._run.name}: {what}", file=sys.stderr, flush=True)
