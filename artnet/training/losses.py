"""The loss of one or several heads over paintings of which some lack labels."""

from collections.abc import Mapping

import torch
from torch.nn import functional as F

from shards.labels import UNLABELLED

from .ranks import Ranks


class DivergedError(Exception):
    """The loss is no number any more."""


def masked_loss(
    logits: Mapping[str, torch.Tensor], labels: torch.Tensor, smoothing: float, ranks: Ranks
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy, the mean over the labelled paintings of all ranks, summed over the heads.

    `logits` maps tasks to (n, classes), `labels` is int64 (n, tasks) in the same order, -1 = unlabelled. Returns the
    value to call `backward` on: it is scaled by the world size, because DDP averages gradients over ranks. And,
    detached, this rank's part of the mean: the sum of these over ranks is the loss. A rank or a step without any
    label contributes zero, never NaN.
    """
    counts = ranks.sum((labels != UNLABELLED).sum(0)).clamp(min=1)
    sums = torch.stack(
        [
            F.cross_entropy(
                task_logits.float(),
                labels[:, column],
                reduction="sum",
                ignore_index=UNLABELLED,
                label_smoothing=smoothing,
            )
            for column, task_logits in enumerate(logits.values())
        ]
    )
    part = (sums / counts).sum()
    return part * ranks.world_size, part.detach()
