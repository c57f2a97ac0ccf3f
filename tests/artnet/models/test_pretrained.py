"""Pretrained weights: the initial network computes the plain one's logits, with any added parts."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
import torchvision

from artnet.config import build
from artnet.config.sections import ModelConfig
from artnet.models import build_model
from artnet.models.pretrained import load_pretrained
from shards.errors import UserError
from shards.files import file_sha256

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


@pytest.fixture(params=["resnet18", "resnet34", "resnet50"])
def published(request, tmp_path, monkeypatch):
    """torchvision's weights as first published, parameters without counters, under a name with their digest.

    Returns the backbone, the state dict and the place of the file in the cache of downloads.
    """
    backbone = request.param
    model = torchvision.models.get_model(backbone)
    state = {**model.state_dict(), **dict(model.named_parameters())}
    state = {name: value for name, value in state.items() if "num_batches" not in name}
    torch.save(state, tmp_path / "file")
    name = f"{backbone}-{file_sha256(tmp_path / 'file')[:8]}.pth"
    weights = SimpleNamespace(url=f"{(tmp_path / 'served').as_uri()}/{name}")
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda backbone: SimpleNamespace(DEFAULT=weights))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    (tmp_path / "served").mkdir()
    (tmp_path / "file").rename(tmp_path / "served" / name)
    return backbone, state, tmp_path / "home" / "hub" / "checkpoints" / name


def plain(backbone):
    return build_model(backbone=backbone, recurrence="none", attention="none", classes={"style": 27})


def test_imagenet_weights_are_downloaded_once_and_have_no_counters(published, monkeypatch):
    backbone, state, file = published
    for _ in range(2):
        ours = plain(backbone)
        assert load_pretrained(ours, "imagenet", backbone) == "started from imagenet; from scratch: the head for style"
        own = ours.state_dict()
        assert all(torch.equal(own[name], value) for name, value in state.items() if not name.startswith("fc."))
        assert file.exists()
        monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *arguments: pytest.fail("downloaded again"))


class Attack:
    """A pickle that runs code where it is loaded."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.mark.parametrize("published", ["resnet18"], indirect=True)
def test_a_planted_file_in_the_cache_of_downloads_is_neither_used_nor_executed(published, tmp_path):
    backbone, state, file = published
    for planted in ({"conv1.weight": Attack(tmp_path / "ran")}, {**state, "fc.bias": torch.zeros(1000)}):
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(planted, file)
        with pytest.raises(UserError, match=r"^pretrained: \S+ is not the file that torchvision published; [^\n]+$"):
            load_pretrained(plain(backbone), "imagenet", backbone)
    # With a name that fits, it is still only read.
    torch.save({"conv1.weight": Attack(tmp_path / "ran")}, file)
    fitting = file.with_name(f"resnet18-{file_sha256(file)[:8]}.pth")
    file.rename(fitting)
    torchvision.models.get_model_weights("resnet18").DEFAULT.url = f"https://host/{fitting.name}"
    with pytest.raises(UserError, match="holds only tensors"):
        load_pretrained(plain(backbone), "imagenet", backbone)
    assert not (tmp_path / "ran").exists()


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
