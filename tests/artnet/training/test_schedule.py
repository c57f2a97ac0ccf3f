"""Learning rates match torch's schedulers and the formulas of the papers."""

import pytest
import torch
from torch import nn

from artnet.config.sections import OptimConfig
from artnet.training.schedule import learning_rate, warmup_steps
from shards.errors import UserError


def torchs(schedule, steps, warmup):
    """The rates of torch's own scheduler after a linear warm-up, or for one-cycle with it."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    rest = steps - warmup
    make = {
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rest),
        "linear": lambda: torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, rest),
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, 1),
        "one_cycle": lambda: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.2, total_steps=steps, pct_start=warmup / steps, cycle_momentum=False
        ),
    }
    scheduler, rates = make[schedule](), []
    for _ in range(steps if schedule == "one_cycle" else rest):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates if schedule == "one_cycle" else [0.2 * (step + 1) / (warmup + 1) for step in range(warmup)] + rates


@pytest.mark.parametrize("warmup", [0, 2, 30])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "one_cycle"])
def test_learning_rates_match_torchs_schedulers(schedule, warmup):
    config = OptimConfig(lr=0.1, schedule=schedule, warmup=warmup, warmup_unit="steps")
    rates = [learning_rate(step, 100, 10, 512, config) for step in range(100)]
    assert rates == pytest.approx(torchs(schedule, 100, warmup), rel=1e-9, abs=1e-12)


def test_a_warm_up_means_the_same_in_any_unit_and_is_shorter_than_the_run():
    for share in (0.05, 0.29, 0.57):
        units = {"share": share, "epochs": share * 10, "steps": share * 100}
        found = {warmup_steps(100, 10, OptimConfig(warmup=w, warmup_unit=unit)) for unit, w in units.items()}
        assert found == {round(100 * share)}
    assert warmup_steps(3, 3, OptimConfig(warmup=0.99)) == 2
    with pytest.raises(UserError, match=r"^optim\.warmup 10 epochs is 100 steps, and the run has 100; "):
        warmup_steps(100, 10, OptimConfig(warmup=10, warmup_unit="epochs"))


def test_schedules_follow_their_formulas():
    cosine = OptimConfig(lr=0.4, schedule="cosine", warmup=0.1)
    rates = [learning_rate(step, 100, 10, 512, cosine) for step in range(100)]
    assert max(rates) == pytest.approx(0.8)
    assert rates[:10] == pytest.approx([0.8 * (step + 1) / 11 for step in range(10)])
    assert rates[55] == pytest.approx(0.4)
    assert rates[99] < 0.001
    steps = OptimConfig(lr=0.1, schedule="step", step_epochs=3, warmup=0)
    assert [learning_rate(step, 80, 10, 256, steps) for step in (0, 29, 30, 60)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.001]
    )
    assert learning_rate(79, 80, 1, 256, OptimConfig(lr=0.1, schedule="constant", warmup=0)) == 0.1
    one_step = OptimConfig(lr=0.1, schedule="one_cycle", warmup=1, warmup_unit="steps")
    assert learning_rate(0, 100, 10, 256, one_step) == pytest.approx(0.1)
