"""The progress of a run, saved in its checkpoints as well as the learner's state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """The progress of a run.

    `loss` is the sum over the steps of the unfinished epoch, `window` the losses since the last step line of the log.
    """

    step: int = 0
    epochs: int = 0  # completed, including validation
    loss: float = 0.0
    window: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best_epoch: int = 0
    best_val: dict[str, dict[str, Any]] = field(default_factory=dict)
    top1_epoch: int = 0  # the first with the best mean top-1; checkpoints of earlier versions have `best_epoch` alone

    def __post_init__(self) -> None:
        self.top1_epoch = self.top1_epoch or self.best_epoch

    def add(self, losses: list[float]) -> None:
        """Add the losses of the next steps one by one, so that the sum does not depend on how many are given."""
        for loss in losses:
            self.loss += loss
            self.window.append(loss)

    def pop_window_mean(self) -> float:
        """Return the mean of `window` and clear it."""
        mean = sum(self.window) / len(self.window)
        self.window.clear()
        return mean

    def close_epoch(self, epoch: int, scores: dict[str, dict[str, Any]]) -> None:
        """Record that an epoch, counted from 1, is complete, and its scores on val."""
        self.epochs, self.loss = epoch, 0.0
        if not self.best_val or mean_top1(scores) > mean_top1(self.best_val):
            self.top1_epoch = epoch
        if not self.best_val or _quality(scores) > _quality(self.best_val):
            self.best_epoch, self.best_val = epoch, scores


def mean_top1(scores: Mapping[str, Mapping[str, Any]]) -> float:
    """The mean of the heads' top-1, the criterion for the best epoch."""
    return float(sum(task["top1"] for task in scores.values()) / len(scores))


def _quality(scores: Mapping[str, Mapping[str, Any]]) -> tuple[float, float]:
    """What the best epoch has the highest of: the mean top-1, then the lower mean nll; the earlier one if both tie."""
    return mean_top1(scores), -sum(task["nll"] for task in scores.values()) / len(scores)
