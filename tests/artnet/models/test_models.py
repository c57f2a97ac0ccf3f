"""The networks compute what torchvision and the published implementation compute, at any size."""

import copy
import importlib.util
import itertools
import json
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision

from artnet.config.sections import ModelConfig
from artnet.models import build_model
from artnet.models.attention import CBAM
from artnet.models.pretrained import convert_rlanet_state_dict, to_torchvision_state_dict
from artnet.models.recurrence import ConvGRU
from tests.conftest import ROOT, build_lively

REFERENCE = ROOT.parent / "shared" / "rlanet"

BACKBONES, RECURRENCES, ATTENTIONS = (
    get_args(ModelConfig.model_fields[field].annotation) for field in ("backbone", "recurrence", "attention")
)


pytestmark = pytest.mark.usefixtures("one_thread")


def count_parameters(recurrence, attention, classes):
    with torch.device("meta"):
        model = build_model(backbone="resnet50", recurrence=recurrence, attention=attention, classes=classes)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


# With 1000, 23, 10 and 27 classes.
PARAMETERS = {
    ("none", "none"): (25_557_032, 23_555_159, 23_528_522, 23_563_355),
    ("none", "se"): (28_071_976, 26_070_103, 26_043_466, 26_078_299),
    ("none", "eca"): (25_557_118, 23_555_245, 23_528_608, 23_563_441),
    ("none", "cbam_channel"): (28_088_024, 26_086_151, 26_059_514, 26_094_347),
    ("none", "cbam"): (28_089_624, 26_087_751, 26_061_114, 26_095_947),
    ("rla", "none"): (25_870_696, 23_837_559, 23_810_506, 23_845_883),
    ("gru", "none"): (26_056_104, 24_022_967, 23_995_914, 24_031_291),
    ("lstm", "none"): (26_128_680, 24_095_543, 24_068_490, 24_103_867),
    ("lstm", "se"): (28_643_624, 26_610_487, 26_583_434, 26_618_811),
    ("lstm", "eca"): (26_128_766, 24_095_629, 24_068_576, 24_103_953),
    ("lstm", "cbam_channel"): (28_659_672, 26_626_535, 26_599_482, 26_634_859),
    ("lstm", "cbam"): (28_661_272, 26_628_135, 26_601_082, 26_636_459),
}


def test_parameter_counts_match_the_published_ones():
    found = {
        names: tuple(count_parameters(*names, {"task": size}) for size in (1000, 23, 10, 27)) for names in PARAMETERS
    }
    assert found == PARAMETERS
    three = {"artist": 23, "genre": 10, "style": 27}
    assert count_parameters("none", "none", three) == 23_630_972
    assert count_parameters("lstm", "se", three) == 26_687_484


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_trunk_matches_torchvision(backbone):
    theirs = torchvision.models.get_model(backbone).double().eval()
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    names = {"backbone": backbone, "recurrence": "none", "attention": "none"}
    with torch.device("meta"):
        ours = build_model(**names, classes={"imagenet": 1000})
    ours.load_state_dict(convert_rlanet_state_dict(theirs.state_dict()), strict=True, assign=True)
    images = torch.randn(2, 3, 65, 65, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(images)["imagenet"], theirs(images))
    back = to_torchvision_state_dict(ours.state_dict(), "imagenet")
    assert back.keys() == theirs.state_dict().keys()
    torchvision.models.get_model(backbone).double().load_state_dict(back, strict=True)


@pytest.fixture(scope="module")
def reference():
    if not REFERENCE.is_dir():
        pytest.skip(f"{REFERENCE} with the outputs of the published implementation is not on this machine")
    spec = importlib.util.spec_from_file_location("rlanet_fill", REFERENCE / "fill.py")
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    states = json.loads((REFERENCE / "golden.json").read_text())
    return fill, states, np.load(REFERENCE / "golden.npz")


@pytest.mark.parametrize(
    ("name", "recurrence", "attention"),
    [
        ("resnet50_se", "none", "se"),
        ("rla_resnet50", "rla", "none"),
        ("rla_resnet50_eca", "rla", "eca"),
        ("rlalstm_resnet50", "lstm", "none"),
        ("rlalstm_resnet50_se", "lstm", "se"),
    ],
)
def test_outputs_match_the_published_implementation(reference, name, recurrence, attention):
    fill, states, outputs = reference
    theirs = {
        f"module.{key}": torch.zeros(shape, dtype=torch.int64) if dtype == "int64" else fill.fill_tensor(key, shape)
        for key, shape, dtype in states[name]["state"]
    }
    with torch.device("meta"):
        model = build_model(backbone="resnet50", recurrence=recurrence, attention=attention, classes={"imagenet": 1000})
    model.load_state_dict(convert_rlanet_state_dict(theirs), strict=True, assign=True)

    def error(mode, size):
        model.train(mode == "train")
        with torch.no_grad():
            found = model(fill.fill_input(2, size))["imagenet"]
        expected = torch.from_numpy(outputs[f"{name}/{mode}{size}"])
        return ((found - expected).abs().max() / expected.abs().max()).item()

    # Training mode last: it moves the running statistics.
    errors = [error("eval", 64), error("eval", 96), error("train", 64)]
    assert max(errors) < 1e-9


@pytest.mark.parametrize(("recurrence", "attention"), list(itertools.product(RECURRENCES, ATTENTIONS)))
def test_every_parameter_gets_a_gradient(recurrence, attention):
    classes = {"artist": 23, "style": 27}
    model = build_lively(backbone="resnet18", recurrence=recurrence, attention=attention, classes=classes)
    logits = model(torch.randn(2, 3, 33, 33))
    assert {task: tuple(values.shape) for task, values in logits.items()} == {
        "artist": (2, 23),
        "style": (2, 27),
    }
    sum(values.square().sum() for values in logits.values()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.any()] == []


@pytest.mark.parametrize("recurrence", ["rla", "lstm", "gru"])
def test_pooling_of_odd_sides_averages_the_remaining_positions(recurrence):
    """No stage halves these sides evenly. A window of a single position weights it by 1, not by a quarter."""
    model = build_model(backbone="resnet18", recurrence=recurrence, attention="none", classes={"style": 27})
    images = torch.randn(2, 3, 51, 37)
    assert model(images)["style"].isfinite().all()
    state = torch.ones(1, 1, 5, 3)
    torch.testing.assert_close(model.pool(state), torch.ones(1, 1, 3, 2))


@pytest.mark.parametrize(
    ("recurrence", "attention"), [("none", "cbam"), ("rla", "eca"), ("lstm", "se"), ("lstm", "cbam_channel")]
)
def test_memory_format_and_autocast_change_nothing_but_rounding(recurrence, attention):
    names = {"backbone": "resnet50", "recurrence": recurrence, "attention": attention}
    model = build_lively(**names, classes={"style": 27})
    images = torch.randn(4, 3, 65, 65)
    with torch.no_grad():
        expected = model(images)["style"]
        model.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
        torch.testing.assert_close(model(images)["style"], expected, rtol=1e-3, atol=1e-3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(images)["style"]
    assert rounded.dtype == torch.bfloat16
    assert (rounded - expected).norm() < 0.25 * expected.norm()


def test_cbam_matches_the_paper():
    """Equations 2 and 3 of the paper, with the maximum before the mean in the spatial convolution's input."""
    attention = CBAM(32, reduction=8).eval()
    torch.nn.init.constant_(attention.spatial.bn.weight, 2)
    channel, spatial = attention.channel, attention.spatial
    x = torch.randn(2, 32, 5, 7)
    mean, maximum = (
        channel.expand(channel.reduce(pool(x, 1).flatten(1)).relu())
        for pool in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d)
    )
    weighed = x * (mean + maximum).sigmoid().reshape(2, 32, 1, 1)
    torch.testing.assert_close(channel(x), weighed)
    pooled = torch.stack((weighed.amax(1), weighed.mean(1)), dim=1)
    positions = 2 * F.conv2d(pooled, spatial.conv.weight, padding=3) / (1 + spatial.bn.eps) ** 0.5
    torch.testing.assert_close(attention(x), weighed * positions.sigmoid())


def test_the_gru_matches_the_authors_implementation():
    """Its update gate is the share of h that is kept; each gate and the candidate has one norm over all channels."""
    cell = ConvGRU(8, 4, steps=2).eval()
    for norm in (cell.reset_norm, cell.update_norm, cell.output_norm):
        torch.nn.init.normal_(norm.weight)
    x, h = torch.randn(2, 8, 5, 7), torch.randn(2, 4, 5, 7)
    inputs = cell.bns[1](cell.conv_out(x)).tanh()

    def normed(values, norm):
        values = values - values.mean((1, 2, 3), keepdim=True)
        values = values / (values.square().mean((1, 2, 3), keepdim=True) + 1e-6).sqrt()
        return values * norm.weight.view(1, 4, 1, 1) + norm.bias.view(1, 4, 1, 1)

    gates = cell.gate_conv(torch.cat((inputs, h), 1))
    reset, update = normed(gates[:, :4], cell.reset_norm).sigmoid(), normed(gates[:, 4:], cell.update_norm).sigmoid()
    new = normed(cell.output_conv(torch.cat((inputs, reset * h), 1)), cell.output_norm).tanh()
    torch.testing.assert_close(cell(x, (h,), 1)[0], update * h + (1 - update) * new)


def test_the_initialisation_is_as_published():
    """Convolutions keep the variance of gradients; branches and the spatial gate start at zero."""
    names = {"backbone": "resnet50", "recurrence": "lstm", "attention": "cbam"}
    state = build_model(**names, classes={"style": 27}).state_dict()
    for name in ("layer1.0.conv2", "cells.0.conv", "cells.3.conv"):
        weight = state[f"{name}.weight"]
        assert weight.std().item() == pytest.approx((2 / (9 * weight.shape[0])) ** 0.5, rel=0.05)
    zeros = {name for name, value in state.items() if name.endswith(".weight") and not value.any()}
    assert zeros == {name for name in state if name.endswith((".bn3.weight", ".attention.spatial.bn.weight"))}


def test_the_error_for_an_unknown_name_lists_the_valid_ones():
    names = {"backbone": "resnet50", "recurrence": "none", "attention": "none", "classes": {"style": 27}}
    for field, options in (("backbone", BACKBONES), ("recurrence", RECURRENCES), ("attention", ATTENTIONS)):
        with pytest.raises(ValueError, match=f"{field} 'mamba'.*{', '.join(options)}"):
            build_model(**{**names, field: "mamba"})


def test_stochastic_depth_skips_the_later_blocks_more_often_and_in_training_only():
    model = build_lively(backbone="resnet18", recurrence="none", attention="none", classes={"style": 27}, drop_path=0.8)
    drops = [block.drop_path.p for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage]
    assert drops == pytest.approx([0.1 * place for place in range(1, 9)])
    block = model.layer4[1]
    x = torch.rand(400, 512, 2, 2)
    kept = block(x) != x
    skipped = 1 - kept.flatten(1).any(1).float().mean().item()
    assert skipped == pytest.approx(0.8, abs=0.06)
    twin = copy.deepcopy(model)
    twin.set_drop_path(0)
    images = torch.randn(2, 3, 33, 33)
    for task, logits in model.eval()(images).items():
        assert torch.equal(logits, twin.eval()(images)[task])
