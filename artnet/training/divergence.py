"""A loss that is no number: which step was the first, and which paintings it showed."""

import math
from collections.abc import Sequence

from ..data.dataset import SplitData
from ..data.epoch import Plan
from ..rundir import RunDir, write_json
from .losses import DivergedError


def check(
    losses: Sequence[float], last_step: int, steps_per_epoch: int, data: SplitData, plan: Plan, run: RunDir, first: bool
) -> None:
    """Make sure that the losses of the steps of one epoch up to `last_step` are numbers.

    Raises `DivergedError` that names the first step whose loss is none; on the `first` rank the paintings that it
    showed are saved before. `plan` is that of the epoch.
    """
    for step, loss in enumerate(losses, last_step - len(losses) + 1):
        if math.isfinite(loss):
            continue
        epoch, place = divmod(step - 1, steps_per_epoch)
        batch_size = data.config.train.batch_size
        samples = plan.order[place * batch_size :][:batch_size]
        keys = [str(data.index.table["key"][int(row)]) for row in data.rows[samples]]
        if first:
            write_json(run.bad_batch_file, {"step": step, "epoch": epoch + 1, "loss": str(loss), "keys": keys})
        raise DivergedError(
            f"the loss became {loss} in step {step}, whose {len(keys)} paintings are named in "
            f"{run.bad_batch_file}; lower optim.lr or lengthen optim.warmup"
        )
