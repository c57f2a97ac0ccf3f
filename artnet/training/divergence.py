"""A loss that is no number: which step was the first, and which paintings it showed."""

import math
from collections.abc import Sequence

import torch

from ..data.dataset import SplitData
from ..data.plan import Plan
from ..rundir import RunDir, write_json
from .losses import DivergedError
from .ranks import Ranks


def losses_of(parts: Sequence[torch.Tensor], ranks: Ranks) -> list[float]:
    """The loss of each step, from this rank's parts of them. Every rank must call it."""
    return [float(loss) for loss in ranks.sum(torch.stack(list(parts))).tolist()]


def without_skipped(parts: Sequence[torch.Tensor], ranks: Ranks) -> list[torch.Tensor]:
    """Those steps that taught something: in fp16 the gradient scaler leaves out a step that has overflowed.

    All of them if there are none: then the loss is no number for good. Every rank must call it.
    """
    kept = [part for part, loss in zip(parts, losses_of(parts, ranks), strict=True) if math.isfinite(loss)]
    return kept or list(parts)


def explain(
    parts: Sequence[torch.Tensor], step: int, epoch: int, position: int, data: SplitData, plan: Plan, run: RunDir,
    ranks: Ranks,
) -> DivergedError:  # fmt: skip
    """The error to raise where one of the last steps, up to `step`, gave no number; its batch is saved by rank 0.

    `parts` holds this rank's part of each loss, `position` is that of the epoch's sample after these steps. Every
    rank must call it.
    """
    losses = losses_of(parts, ranks)
    first = next((number for number, loss in enumerate(losses) if not math.isfinite(loss)), len(losses) - 1)
    batch_size = data.config.train.batch_size
    start = position - (len(losses) - first) * batch_size
    samples = plan.order[start : start + batch_size]
    keys = [str(data.index.table["key"][int(row)]) for row in data.rows[samples]]
    bad = step - len(losses) + first + 1
    if ranks.is_first:
        write_json(run.bad_batch_file, {"step": bad, "epoch": epoch, "loss": str(losses[first]), "keys": keys})
    return DivergedError(
        f"the loss became {losses[first]} in step {bad}, whose {len(keys)} paintings are named in "
        f"{run.bad_batch_file}; lower optim.lr or lengthen optim.warmup"
    )
