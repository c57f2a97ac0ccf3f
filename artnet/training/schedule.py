"""The learning rate of each step. Pure."""

import math

from shards.errors import UserError

from ..sections import OptimConfig

REFERENCE_BATCH = 256  # samples for which `optim.lr` is stated
ONE_CYCLE_START = 1 / 25  # share of the peak that the first step of a one-cycle run has, as in torch's OneCycleLR
ONE_CYCLE_END = 1e-4  # and the last step's share of the first's


def warmup_steps(steps: int, steps_per_epoch: int, config: OptimConfig) -> int:
    """How many of a run's `steps` are warm-up, rounded down. Raises `UserError` if that leaves nothing of the run."""
    unit = {"share": steps, "epochs": steps_per_epoch, "steps": 1}[config.warmup_unit]
    warmup = math.floor(round(config.warmup * unit, 6))  # 0.29 * 100 is less than 29
    if warmup >= steps:
        raise UserError(
            f"optim.warmup {config.warmup:g} {config.warmup_unit} is {warmup} steps, and the run has {steps}; "
            "make it shorter or train.epochs more"
        )
    return warmup


def learning_rate(step: int, steps: int, steps_per_epoch: int, batch_size: int, config: OptimConfig) -> float:
    """The learning rate of step `step` (from 0) of `steps`, scaled linearly to the global batch of `batch_size`.

    Scaling and warm-up are those of Goyal et al., "Accurate, Large Minibatch SGD", 2017: with W steps of warm-up the
    rate rises linearly from zero and reaches its peak at step W. From there on it follows, at t = 0 to 1 of the rest,
    `cosine` (1 + cos(pi t)) / 2 (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts), `linear` 1 - t or
    `constant` 1. `step` is a tenth for every `step_epochs` epochs since the start of the run, warm-up included.

    `one_cycle` (Smith and Topin, "Super-Convergence", 2018) is torch's OneCycleLR with cosine annealing, and with the
    warm-up for its rise: half a cosine from 1/25 of the peak up to it, at the last step of the warm-up, and half a
    cosine down to a 10,000th of the first rate. torch's own default is `warmup: 0.3`. The momentum does not cycle.

    Raises `UserError` as `warmup_steps` does.
    """
    peak = config.lr * batch_size / REFERENCE_BATCH
    warmup = warmup_steps(steps, steps_per_epoch, config)
    if config.schedule == "one_cycle":
        top = warmup - 1
        if step < top:
            return peak * _half_cosine(ONE_CYCLE_START, 1, step / top)
        return peak * _half_cosine(1, ONE_CYCLE_START * ONE_CYCLE_END, (step - top) / (steps - 1 - top))
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    t = (step - warmup) / (steps - warmup)
    if config.schedule == "cosine":
        return peak * _half_cosine(1, 0, t)
    if config.schedule == "linear":
        return peak * (1 - t)
    if config.schedule == "step":
        return peak * 0.1 ** (step // steps_per_epoch // config.step_epochs)
    return peak


def _half_cosine(start: float, end: float, t: float) -> float:
    """From `start` at t = 0 to `end` at t = 1, flat at both."""
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2
