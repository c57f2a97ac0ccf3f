"""The optimizer: parameter groups, learning rates and clipping; and the moving average of the weights."""

import numpy as np
import pytest
import torch
from torch import nn

from artnet.config import build
from artnet.config.sections import OptimConfig
from artnet.models import build_model
from artnet.training.ema import WeightAverage
from artnet.training.optim import clip_gradients, make_optimizer, set_learning_rate
from artnet.training.schedule import learning_rate

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_paper_recipe_matches_the_paper():
    config = build({"task": "style", "recipe": "paper"})
    model = build_model(**config.model.model_dump(), classes={"style": 27})
    optimizer = make_optimizer(model.named_parameters(), config.optim)
    assert type(optimizer) is torch.optim.SGD
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    assert {(group["momentum"], group["weight_decay"], group["nesterov"]) for group in optimizer.param_groups} == {
        (0.9, 1e-4, False)
    }
    steps = 120 * 7
    assert (config.train.epochs, config.train.batch_size, config.train.precision) == (120, 256, "fp32")
    rates = [learning_rate(step, steps, 7, 256, config.optim) for step in range(steps)]
    assert rates == pytest.approx([0.1] * 210 + [0.01] * 210 + [0.001] * 210 + [0.0001] * 210)
    assert (config.augment.policy, config.augment.crop_scale, config.augment.flip) == ("none", 0.08, 0.5)
    off = (config.augment.erasing, config.augment.mixup, config.augment.cutmix, config.loss.label_smoothing)
    assert {*off, config.optim.clip_norm, config.optim.ema_half_life, config.eval.flip} == {0}


def test_adamw_follows_its_formula_and_the_backbone_has_its_own_rate():
    model = nn.ModuleDict({"conv1": nn.Linear(2, 2), "heads": nn.ModuleDict({"style": nn.Linear(2, 2)})})
    optimizer = make_optimizer(
        model.named_parameters(), OptimConfig(name="adamw", weight_decay=0.1, backbone_lr=0.25, momentum=0.8)
    )
    assert type(optimizer) is torch.optim.AdamW
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.999)}
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    set_learning_rate(optimizer, 0.01)
    optimizer.step()
    for name, parameter in model.named_parameters():
        lr = 0.01 if name.startswith("heads.") else 0.0025
        decay = 0.1 if parameter.ndim > 1 else 0  # in its first step Adam moves every weight by lr
        torch.testing.assert_close(parameter.detach(), before[name] * (1 - lr * decay) - lr)


def test_a_gradient_is_clipped_and_its_norm_before_is_returned():
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    optimizer = make_optimizer(zip("ab", weights, strict=True), OptimConfig())
    for max_norm, left in ((0, 13), (20, 13), (6.5, 6.5)):
        weights[0].grad, weights[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
        assert clip_gradients(optimizer, max_norm).item() == pytest.approx(13)
        assert torch.cat([weight.grad for weight in weights]).norm().item() == pytest.approx(left, rel=1e-5)


def test_norms_and_biases_have_no_weight_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    made = make_optimizer(model.named_parameters(), OptimConfig())
    decay = {id(p): g["weight_decay"] for g in made.param_groups for p in g["params"]}
    assert [decay[id(parameter)] > 0 for parameter in model.parameters()] == [True, False, False, False]


def test_the_average_has_its_half_life_and_a_faster_start():
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, half_life=20)
    expected = 0.0
    for step in range(400):
        value = float(np.sin(step))
        for tensor in (model.weight.data, model.running_mean):
            tensor.fill_(value)
        model.num_batches_tracked.fill_(step)
        share = min(0.5 ** (1 / 20), (1 + step) / (10 + step)) if step else 0
        expected = share * expected + (1 - share) * value
        average.update()
        assert average.model.weight.item() == pytest.approx(expected, abs=1e-5)
        assert average.model.running_mean.item() == pytest.approx(expected, abs=1e-5)
        assert average.model.num_batches_tracked == step
    before = average.model.weight.item()
    model.weight.data.fill_(before + 1)
    for _ in range(20):
        average.update()
    assert average.model.weight.item() == pytest.approx(before + 0.5, abs=1e-4)
    assert not average.model.weight.requires_grad
