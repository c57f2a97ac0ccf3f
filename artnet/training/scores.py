"""How good a model is on a split: top-1, top-5, macro-F1 and negative log-likelihood of each head."""

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from shards.labels import UNLABELLED

from ..config import Task
from ..data.dataset import SplitData
from ..data.loader import load
from ..data.sampler import eval_batches
from ..rundir import Scores
from .endings import StoppedOnRequest
from .inputs import forward, on_device
from .losses import DivergedError
from .ranks import Ranks
from .stop import StopRequest


class TaskScores(nn.Module):
    """Running scores of one head. torchmetrics adds them up over ranks, exactly, whatever each rank saw."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.shares = MetricCollection(
            {
                "top1": MulticlassAccuracy(classes, average="micro", ignore_index=UNLABELLED),
                "top5": MulticlassAccuracy(classes, top_k=min(5, classes), average="micro", ignore_index=UNLABELLED),
                "macro_f1": MulticlassF1Score(classes, average="macro", ignore_index=UNLABELLED),
            },
            # Groups are guessed from the first batch: one in which top-1 and top-5 agree would join them for good.
            compute_groups=False,
        )
        self.loss = SumMetric(nan_strategy="disable")
        self.labelled = SumMetric()

    def update(self, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Count a batch: logits (n, classes), labels int64 (n,), -1 = unlabelled."""
        self.shares.update(logits, labels)
        self.loss.update(F.cross_entropy(logits, labels, reduction="sum", ignore_index=UNLABELLED))
        self.labelled.update((labels != UNLABELLED).sum())

    def compute(self) -> Scores:
        """The scores over all ranks. Every rank must call it. Raises `DivergedError` if the loss is no number."""
        shares = {name: float(value) for name, value in self.shares.compute().items()}
        n, loss = int(self.labelled.compute()), float(self.loss.compute())
        if not math.isfinite(loss):
            raise DivergedError(f"the loss in evaluation is {loss}; lower optim.lr or lengthen optim.warmup")
        return Scores(loss=loss / max(n, 1), n=n, **shares)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    data: SplitData,
    classes: Mapping[str, int],
    ranks: Ranks,
    threads: int,
    stop: StopRequest | None = None,
) -> dict[Task, Scores]:
    """Score a model on a split: every painting once over all ranks. Every rank must call it, with the bare model.

    Raises `StoppedOnRequest`, on all ranks, if `stop` is asked for meanwhile.
    """
    model.eval()
    scorers = {task: TaskScores(classes[task]).to(ranks.device) for task in data.config.task}
    local = max(1, data.config.train.batch_size // ranks.world_size)
    batches = eval_batches(len(data), local, ranks.rank, ranks.world_size)
    for batch in on_device(load(data, data.plan(0), batches, threads, ranks.on_gpu), ranks.device):
        logits = forward(model, batch.images, data.config.train.precision)
        for column, (task, scorer) in enumerate(scorers.items()):
            scorer.update(logits[task].float(), batch.labels[:, column])
        if stop:
            break
    if any(ranks.any(bool(stop))):
        raise StoppedOnRequest(f"stopped by {stop.name if stop else 'a signal'} while it scored {data.split}")
    return {task: scorer.compute() for task, scorer in scorers.items()}
