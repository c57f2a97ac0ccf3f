"""Pretrained weights: the initial network computes the plain one's logits, with any added parts."""

import itertools
from typing import get_args

import pytest
import torch
import torchvision

from artnet.config import build
from artnet.config.sections import ModelConfig
from artnet.models import build_model
from artnet.models.pretrained import load_pretrained
from shards.errors import UserError

RECURRENCES, ATTENTIONS = (
    get_args(ModelConfig.model_fields[field].annotation) for field in ("recurrence", "attention")
)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """torchvision's networks with random batch norm statistics, float64, and their files."""
    folder, found = tmp_path_factory.mktemp("checkpoints"), {}
    torch.manual_seed(0)
    for backbone in ("resnet18", "resnet50"):
        model = torchvision.models.get_model(backbone).double().eval()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.uniform_(module.bias, -0.5, 0.5)
                torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
        torch.save(model.state_dict(), folder / f"{backbone}.pth")
        found[backbone] = model, folder / f"{backbone}.pth"
    return found


GRID = list(itertools.product(["resnet18"], RECURRENCES, ATTENTIONS))
# Every recurrence and every attention once.
FEW = [("resnet18", *pair) for pair in zip(itertools.cycle(RECURRENCES), ATTENTIONS, strict=False)]
REST = [pytest.param(*names, marks=pytest.mark.slow) for names in GRID if names not in FEW]


@pytest.mark.parametrize(("backbone", "recurrence", "attention"), [*FEW, ("resnet50", "lstm", "cbam"), *REST])
def test_the_initial_logits_match_torchvision(checkpoints, backbone, recurrence, attention):
    theirs, file = checkpoints[backbone]
    classes = {"imagenet": 1000, "style": 27}
    model = build_model(backbone=backbone, recurrence=recurrence, attention=attention, classes=classes).double().eval()
    initial = model.heads["style"].weight.clone()
    assert load_pretrained(model, str(file), backbone).endswith("from scratch: the head for style")
    images = torch.randn(2, 3, 33, 33, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model(images)["imagenet"], theirs(images), rtol=1e-12, atol=1e-12)
    assert torch.equal(model.heads["style"].weight, initial)


def test_parts_that_start_without_effect_are_trained(checkpoints):
    model = build_model(backbone="resnet18", recurrence="lstm", attention="cbam", classes={"style": 27}).double()
    load_pretrained(model, str(checkpoints["resnet18"][1]), "resnet18")
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(2, 3, 33, 33, dtype=torch.float64))["style"].square().sum().backward()
        optimizer.step()
    assert [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])] == []


def test_imagenet_weights_are_downloaded_by_torchvision(checkpoints, monkeypatch):
    model, _ = checkpoints["resnet18"]
    asked = []

    def get_state_dict(self, **options):
        asked.append((str(self), options["check_hash"]))
        return model.state_dict()

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", get_state_dict)
    ours = build_model(backbone="resnet18", recurrence="none", attention="none", classes={"style": 27}).double()
    load_pretrained(ours, "imagenet", "resnet18")
    assert asked == [("ResNet18_Weights.IMAGENET1K_V1", True)]
    assert torch.equal(ours.conv1.weight, model.conv1.weight)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", {"epoch": 3}, {"conv1.weight": torch.zeros(3)}, "resnet18"])
def test_a_file_that_does_not_fit_the_network_is_an_error_of_one_sentence(checkpoints, tmp_path, content):
    file = checkpoints["resnet18"][1] if content == "resnet18" else tmp_path / "file.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif isinstance(content, dict):
        torch.save(content, file)
    model = build_model(backbone="resnet50", recurrence="lstm", attention="se", classes={"style": 27})
    with pytest.raises(UserError, match=r"^pretrained: \S+ [^\n]+$"):
        load_pretrained(model, str(file), "resnet50")


def test_a_relative_path_refers_to_the_same_file_in_every_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert build({"task": "style", "pretrained": "weights.pth"}).pretrained == str(tmp_path / "weights.pth")
    assert build({"task": "style", "pretrained": "imagenet"}).pretrained == "imagenet"
