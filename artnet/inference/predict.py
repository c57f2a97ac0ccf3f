"""Evaluate a model on a split: its predictions for every painting, and their scores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics.functional.classification import (
    multiclass_calibration_error,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_recall,
)
from torchmetrics.utilities.distributed import gather_all_tensors

from shards.tasks import UNLABELLED

from ..config import RunConfig, Task
from ..data.dataset import SplitData
from ..data.loader import load
from ..data.sampler import eval_batches
from ..distributed.ranks import Ranks
from ..errors import DivergedError, StoppedOnRequest
from ..result import Scores
from ..stop import StopRequest
from .forward import forward, on_device

BINS = 15  # of confidence, for the expected calibration error (Guo et al., ICML 2017)


@dataclass(frozen=True)
class Predictions:
    """One head's predictions for the n labelled paintings of a split.

    `logits` are float32 (n, classes), with values of float16, as they are stored; `labels` int64 (n,); `samples` int64
    (n,) are the paintings, as positions in the split's `SplitData`, in ascending order.
    """

    logits: torch.Tensor
    labels: torch.Tensor
    samples: torch.Tensor

    @property
    def classes(self) -> int:
        """Number of classes of the head."""
        return self.logits.shape[1]

    def scores(self) -> Scores:
        """Score the predictions. Raises `DivergedError` if their loss is not finite."""
        logits, labels, n = self.logits, self.labels, self.classes
        nll = float(F.cross_entropy(logits, labels))
        if not math.isfinite(nll):
            raise DivergedError(f"the loss in evaluation is {nll}; lower optim.lr or lengthen optim.warmup")
        recall = multiclass_recall(logits, labels, n, average="none", validate_args=False).tolist()
        support = torch.bincount(labels, minlength=n).tolist()
        # Probabilities: torchmetrics would mistake logits that happen to lie between 0 and 1 for them.
        ece = multiclass_calibration_error(logits.softmax(1), labels, n, n_bins=BINS, norm="l1", validate_args=False)
        # Of equal logits, which float16 has, those of the first classes count.
        right = logits.argsort(dim=1, descending=True, stable=True)[:, :5] == labels[:, None]
        correct = int(right[:, 0].sum())
        return Scores(
            top1=correct / len(labels),
            top5=int(right.sum()) / len(labels),
            macro_f1=float(multiclass_f1_score(logits, labels, n, average="macro", validate_args=False)),
            nll=nll,
            ece=min(1.0, float(ece)),
            recall=[share if images else None for share, images in zip(recall, support, strict=True)],
            n=len(labels),
            correct=correct,
        )

    def confusion(self) -> torch.Tensor:
        """The confusion matrix, int64 (classes, classes): counts of labels (rows) by predictions (columns)."""
        return multiclass_confusion_matrix(self.logits, self.labels, self.classes, validate_args=False)


@torch.inference_mode()
def predict(
    network: nn.Module,
    data: SplitData,
    ranks: Ranks,
    threads: int,
    log_priors: Mapping[str, torch.Tensor],
    stop: StopRequest | None = None,
) -> dict[Task, Predictions]:
    """Predict a split: each painting is evaluated once, on one of the ranks, and every rank gets all predictions.

    Must be called on all ranks. `network` is a `PixelNetwork`, without DDP, and `log_priors` are those of `adjusted`.

    Raises `StoppedOnRequest` on all ranks if `stop` is requested on any of them.
    """
    widths = [len(log_priors[task]) for task in data.config.task]
    rows, labels, samples = outputs(network, data, ranks, threads, sum(widths), stop)
    answers = {}
    for column, (task, logits) in enumerate(zip(data.config.task, rows.split(widths, 1), strict=True)):
        known = labels[:, column] != UNLABELLED
        final = adjusted(logits[known], data.config, log_priors[task])
        answers[task] = Predictions(final, labels[known, column], samples[known])
    return answers


@torch.inference_mode()
def outputs(
    network: nn.Module, data: SplitData, ranks: Ranks, threads: int, width: int, stop: StopRequest | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a network says of each painting of a split, on every rank: all its outputs side by side.

    Returns them, float32 (n, `width`), with `eval.flip` the mean over a painting and its mirror image; the labels,
    int64 (n, tasks), of which a painting that cannot be read has none; and the samples, int64 (n,), ascending. Must be
    called on all ranks, and raises as `predict`.
    """
    network.eval()
    config = data.config
    local = max(1, config.train.batch_size // ranks.world_size)
    batches = eval_batches(len(data), local, ranks.rank, ranks.world_size)
    # A rank may have no paintings.
    found = [torch.empty(0, width, device=ranks.device)]
    labels = [torch.empty(0, data.labels.shape[1], dtype=torch.int64, device=ranks.device)]
    plan = data.plan(0)
    for batch in on_device(load(data, plan, batches, threads, ranks.pinned_bytes), ranks.device):
        found.append(evaluation_outputs(network, batch.images, config))
        labels.append(batch.labels)
        if stop:
            break
    if any(ranks.any(bool(stop))):
        raise StoppedOnRequest(f"stopped by {stop.name if stop else 'a signal'} during the evaluation on {data.split}")
    # Kept on the device until the end: scoring each batch would cost more and synchronize each time.
    own = plan.order[np.concatenate([np.empty(0, np.int64), *batches])]
    samples, order = _gathered(torch.from_numpy(own).to(ranks.device), ranks).sort()
    return _gathered(torch.cat(found), ranks)[order], _gathered(torch.cat(labels), ranks)[order], samples


def log_priors(labels: np.ndarray, classes: Mapping[str, int]) -> dict[str, torch.Tensor]:
    """For each task, the log of every class's share of the labelled paintings, float32 (classes,).

    `labels` is int64 (n, tasks), -1 = unlabelled. A class without paintings counts as if it had one, so that the
    logarithm is finite.
    """
    priors = {}
    for column, (task, n) in enumerate(classes.items()):
        known = labels[labels[:, column] != UNLABELLED, column]
        counts = np.maximum(np.bincount(known, minlength=n), 1)
        priors[task] = torch.from_numpy(np.log(counts / counts.sum())).float()
    return priors


def evaluation_outputs(network: nn.Module, pixels: torch.Tensor, config: RunConfig) -> torch.Tensor:
    """The outputs for evaluation crops side by side, such as the logits of all heads: float32 (n, all classes).

    With `eval.flip` they are the mean over a painting and its mirror image.
    """
    rows = _outputs(network, pixels, config.train.precision)
    if not config.eval.flip:
        return rows
    return (rows + _outputs(network, pixels.flip(2), config.train.precision)) / 2


def adjusted(logits: torch.Tensor, config: RunConfig, log_prior: torch.Tensor) -> torch.Tensor:
    """A task's final logits, float32 (n, classes), rounded to float16: those read from a file give the same scores.

    `eval.logit_adjustment` tau subtracts tau times `log_prior`, the log of the class shares in training, (classes,)
    (Menon et al., "Long-tail learning via logit adjustment", ICLR 2021).
    """
    return (logits - config.eval.logit_adjustment * log_prior.to(logits.device)).half().float()


def _outputs(network: nn.Module, pixels: torch.Tensor, precision: str) -> torch.Tensor:
    return torch.cat([rows.float() for rows in forward(network, pixels, precision).values()], 1)


def _gathered(rows: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """Concatenate the rows of all ranks, which may differ in number, in the order of the ranks."""
    return torch.cat(gather_all_tensors(rows)) if ranks.world_size > 1 else rows
