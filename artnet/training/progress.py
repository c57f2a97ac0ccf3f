"""How far a run has come: what its checkpoints know beside what has been learnt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """`loss` sums the steps of the unfinished epoch, `window` lists the losses since the last line about steps."""

    step: int = 0
    epochs: int = 0  # those that are over, validation included
    loss: float = 0.0
    window: list[float] = field(default_factory=list)
    seconds: float = 0.0
    best_epoch: int = 0
    best_val: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, losses: list[float]) -> None:
        """Count the losses of the next steps, one by one: however many come at once, the sums are the same."""
        for loss in losses:
            self.loss += loss
            self.window.append(loss)

    def pop_window_mean(self) -> float:
        """The mean of `window`, which is cleared."""
        mean = sum(self.window) / len(self.window)
        self.window.clear()
        return mean

    def close_epoch(self, epoch: int, scores: dict[str, dict[str, Any]]) -> None:
        """Note that an epoch, from 1, is over, and how it scored on val."""
        self.epochs, self.loss = epoch, 0.0
        if not self.best_val or mean_top1(scores) > mean_top1(self.best_val):
            self.best_epoch, self.best_val = epoch, scores


def mean_top1(scores: Mapping[str, Mapping[str, Any]]) -> float:
    """What models are chosen by: the mean of the heads' top-1."""
    return float(sum(task["top1"] for task in scores.values()) / len(scores))
