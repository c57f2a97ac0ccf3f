"""The training loss: one or several heads, on paintings that may lack labels."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from shards.tasks import UNLABELLED

from ..config.sections import LossConfig
from ..distributed.ranks import Ranks

# Pairs of labels, int64 (n, tasks), -1 = unlabelled, and their share in the images; the shares sum to one.
MixedLabels = Sequence[tuple[torch.Tensor, float]]


class Objective(nn.Module):
    """The weighted sum of the heads' losses, with fixed or learned weights.

    `loss.weights` multiply the losses. `loss.weighting: uncertainty` minimises the sum of exp(-s) L + s / 2 over the
    heads, where L is a head's loss and s, the logarithm of its variance, is learned, starting from 0 (Kendall, Gal and
    Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses", CVPR 2018, for classification). A head without
    labels in the global batch contributes nothing, not even to the gradient of its s.

    `loss.balance: balanced_softmax` adds the log of each class's share in training to the logits (Ren et al.,
    "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020). It applies to training only: models are
    evaluated on the unchanged logits.
    """

    weights: torch.Tensor
    offsets: torch.Tensor

    def __init__(self, config: LossConfig, log_priors: Mapping[str, torch.Tensor], ranks: Ranks) -> None:
        """`log_priors` is the result of `log_priors()`, with tasks in the order of the labels' columns."""
        super().__init__()
        self.smoothing, self.ranks = config.label_smoothing, ranks
        self.tasks = list(log_priors)
        weights = torch.tensor([config.weights.of(task) for task in self.tasks])
        self.register_buffer("weights", weights, persistent=False)
        balanced = config.balance == "balanced_softmax"
        offsets = torch.cat([prior if balanced else torch.zeros_like(prior) for prior in log_priors.values()])
        self.register_buffer("offsets", offsets, persistent=False)
        is_learned = config.weighting == "uncertainty"
        self.log_variances = nn.Parameter(torch.zeros(len(self.tasks))) if is_learned else None
        self.to(ranks.device)

    def learned_weights(self) -> dict[str, float]:
        """The learned weights, exp(-s), as `weight/TASK`; empty if they are fixed. Waits for the device."""
        if self.log_variances is None:
            return {}
        weights = self.log_variances.detach().neg().exp().tolist()
        return {f"weight/{task}": weight for task, weight in zip(self.tasks, weights, strict=True)}

    def forward(
        self, logits: Mapping[str, torch.Tensor], mixture: MixedLabels, counts: torch.Tensor, parts: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the loss of a batch, or of one of its `parts` in gradient accumulation.

        `logits` maps tasks to (n, classes); `counts`, float (tasks,), are the labelled paintings of the whole global
        batch, of `count_labelled`. Returns two scalars. The first is for `backward`: it is scaled by the world size,
        because DDP averages gradients over ranks; the gradient of the learned weights is already that of the global
        batch, the same on every rank. The second, detached, is this rank's part of the loss: the loss is its sum over
        ranks and parts. Must be called on all ranks.
        """
        offsets = self.offsets.split([task_logits.shape[1] for task_logits in logits.values()])
        shifted = [task_logits.float() + offset for task_logits, offset in zip(logits.values(), offsets, strict=True)]
        losses = masked_losses(shifted, mixture, self.smoothing, counts)
        if self.log_variances is None:
            part = (self.weights * losses).sum()
            return part * self.ranks.world_size, part.detach()
        # The weights are outside DDP, so their gradient is computed from the losses of all ranks, one number per head.
        everywhere = self.ranks.sum(losses.detach().clone())
        has_label = (counts > 0).float()
        own = (self.log_variances.detach().neg().exp() * losses).sum()
        learned = self.log_variances.neg().exp() * everywhere
        regular = has_label * self.log_variances / (2 * parts)
        part = own.detach() + regular.detach().sum() / self.ranks.world_size
        return own * self.ranks.world_size + (learned + regular).sum(), part


def count_labelled(mixture: MixedLabels, ranks: Ranks) -> Callable[[], torch.Tensor]:
    """Count the labelled paintings of the global batch. Must be called on all ranks.

    Returns a function that waits for the other ranks and returns the counts, float (tasks,).
    """
    return ranks.start_sum(torch.stack([share * (labels != UNLABELLED).sum(0) for labels, share in mixture]).sum(0))


def masked_losses(
    logits: Sequence[torch.Tensor], mixture: MixedLabels, smoothing: float, counts: torch.Tensor
) -> torch.Tensor:
    """Each head's cross-entropy, (tasks,): this rank's part of the mean over the labelled paintings of all ranks.

    `logits` has one (n, classes) per column of the labels; sums are divided by `counts`, float (tasks,). If images are
    mixed, each set of labels is weighted by its share. Without any label the part is zero, never NaN.
    """
    sums = torch.zeros(len(logits), device=counts.device)
    for labels, share in mixture:
        sums = sums + share * torch.stack(
            [
                F.cross_entropy(
                    task_logits,
                    labels[:, column],
                    reduction="sum",
                    ignore_index=UNLABELLED,
                    label_smoothing=smoothing,
                )
                for column, task_logits in enumerate(logits)
            ]
        )
    return sums / torch.where(counts > 0, counts, 1)


def gather_losses(losses: Sequence[torch.Tensor], ranks: Ranks) -> list[float]:
    """Sum the ranks' parts of the losses of several steps. Must be called on all ranks.

    Parts are summed in the order of the ranks, so that the result for a step does not depend, to the last bit, on how
    many steps are gathered at once.
    """
    if not losses:
        return []
    parts = torch.zeros(ranks.world_size, len(losses), dtype=torch.float64, device=ranks.device)
    parts[ranks.rank] = torch.stack(list(losses))
    return [float(sum(step)) for step in zip(*ranks.sum(parts).tolist(), strict=True)]
