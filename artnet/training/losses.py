"""The loss of one or several heads over paintings of which some lack labels."""

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional as F

from shards.labels import UNLABELLED

from .endings import FailedError
from .ranks import Ranks

# Labels, int64 (n, tasks), -1 = unlabelled, each with its share in the images; the shares add up to one.
Mixture = Sequence[tuple[torch.Tensor, float]]


class DivergedError(FailedError):
    """The loss is no number any more."""


def masked_loss(
    logits: Mapping[str, torch.Tensor], mixture: Mixture, smoothing: float, ranks: Ranks
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy, the mean over the labelled paintings of all ranks, summed over the heads.

    `logits` maps tasks to (n, classes), in the order of the labels' columns. Where images are mixed, each labelling
    counts by its share. Returns the value to call `backward` on: it is scaled by the world size, because DDP averages
    gradients over ranks. And, detached, this rank's part of the mean: the sum of these over ranks is the loss. A rank
    or a step without any label contributes zero, never NaN.
    """
    counts = ranks.sum(torch.stack([share * (labels != UNLABELLED).sum(0) for labels, share in mixture]).sum(0))
    sums = torch.zeros(len(logits), device=counts.device)
    for labels, share in mixture:
        sums = sums + share * torch.stack(
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
    part = (sums / torch.where(counts > 0, counts, 1)).sum()
    return part * ranks.world_size, part.detach()
