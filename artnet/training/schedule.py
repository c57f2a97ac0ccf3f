"""The learning rate of each step. Pure functions."""

import math

from shards.errors import UserError

from ..config.sections import OptimConfig

REFERENCE_BATCH = 256  # the batch size for which `optim.lr` is specified
ONE_CYCLE_START = 1 / 25  # one_cycle: first over peak learning rate, as in torch's OneCycleLR
ONE_CYCLE_END = 1e-4  # one_cycle: last over first learning rate


def warmup_steps(steps: int, steps_per_epoch: int, config: OptimConfig) -> int:
    """The number of warm-up steps of a run of `steps`, rounded down. Raises `UserError` if no other steps remain."""
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
    rate rises linearly from zero to its peak at step W. Then it is the peak times a factor of t, which runs from 0 to 1
    over the remaining steps: `cosine` (1 + cos(pi t)) / 2 (Loshchilov and Hutter, "SGDR", ICLR 2017, without restarts),
    `linear` 1 - t, `constant` 1. `step` divides the peak by ten every `step_epochs` epochs, counted from the start of
    the run, including warm-up.

    `one_cycle` (Smith and Topin, "Super-Convergence", 2018) is torch's OneCycleLR with cosine annealing, with the
    warm-up as its rise: half a cosine from 1/25 of the peak to the peak at the last step of the warm-up, then half a
    cosine down to 1/10,000 of the first rate. torch's default corresponds to `warmup: 0.3`. Momentum is not cycled.

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
    """Interpolate from `start` at t = 0 to `end` at t = 1 by half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2
