"""Losses that are not finite: the step is named, and its paintings are listed."""

import math
from collections.abc import Sequence

from ..data.dataset import SplitData
from ..data.epoch import EpochPlan
from ..errors import DivergedError
from ..rundir import RunDir, write_json


def check_losses(
    losses: Sequence[float],
    last_step: int,
    steps_per_epoch: int,
    data: SplitData,
    plan: EpochPlan,
    run: RunDir,
    is_first: bool,
) -> None:
    """Check that the losses of the steps of one epoch up to `last_step` are finite. `plan` is the epoch's plan.

    Raises `DivergedError` naming the first step whose loss is not finite; if `is_first`, its paintings are written to
    `bad_batch_file` before.
    """
    for step, loss in enumerate(losses, last_step - len(losses) + 1):
        if math.isfinite(loss):
            continue
        epoch, place = divmod(step - 1, steps_per_epoch)
        batch_size = data.config.train.batch_size
        samples = plan.order[place * batch_size :][:batch_size]
        keys = [str(data.index.table["key"][int(row)]) for row in data.rows[samples]]
        if is_first:
            run.check_exists()
            write_json(run.bad_batch_file, {"step": step, "epoch": epoch + 1, "loss": str(loss), "keys": keys})
        raise DivergedError(
            f"the loss became {loss} in step {step}, whose {len(keys)} paintings are named in "
            f"{run.bad_batch_file}; lower optim.lr or lengthen optim.warmup"
        )
