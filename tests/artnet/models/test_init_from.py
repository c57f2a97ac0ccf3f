"""Runs initialised from the weights of another run."""

import io

import pytest
import torch
import torchvision
from torch import nn

from artnet.models.pretrained import load_run
from shards.errors import UserError
from tests.artnet import runs
from tests.conftest import build_lively

pytestmark = pytest.mark.usefixtures("one_thread")


def network(**names):
    """A network with random batch norm statistics, in evaluation mode."""
    model = build_lively(**{"backbone": "resnet18", "recurrence": "none", "attention": "none", **names}).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
    return model


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run's checkpoints, and its network."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    model = network(classes={"style": 3, "genre": 5})
    torch.save({"version": 3, "model": model.state_dict()}, folder / "checkpoints" / "best.pt")
    torch.save({"learner": {"model": model.state_dict(), "optimizer": {}}}, folder / "checkpoints" / "last.pt")
    return folder, model


@pytest.mark.parametrize("file", ["", "checkpoints/best.pt", "checkpoints/last.pt"])
@pytest.mark.parametrize(("recurrence", "attention"), [("none", "none"), ("lstm", "se"), ("rla", "cbam")])
def test_a_run_initialised_from_another_has_its_logits(source, file, recurrence, attention):
    folder, theirs = source
    ours = network(classes={"artist": 7, "style": 3, "genre": 6}, recurrence=recurrence, attention=attention)
    initial = {task: ours.heads[task].weight.detach().clone() for task in ("artist", "genre")}
    assert load_run(ours, folder / file).endswith("; from scratch: the heads for artist, genre")
    images = torch.randn(2, 3, 65, 65)
    torch.testing.assert_close(ours(images)["style"], theirs(images)["style"], rtol=1e-4, atol=1e-4)
    assert all(torch.equal(ours.heads[task].weight, weight) for task, weight in initial.items())


def test_a_run_can_start_from_a_torchvision_file(tmp_path):
    theirs = torchvision.models.resnet18(num_classes=3).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = network(classes={"style": 3})
    assert "from scratch" not in load_run(ours, tmp_path / "resnet18.pth")
    images = torch.randn(2, 3, 33, 33)
    torch.testing.assert_close(ours(images)["style"], theirs(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("part", "kind"), [("recurrence", "lstm"), ("attention", "eca")])
def test_parts_of_the_source_that_the_network_lacks_are_an_error(tmp_path, part, kind):
    torch.save({"model": network(classes={"style": 3}, **{part: kind}).state_dict()}, tmp_path / "best.pt")
    with pytest.raises(UserError, match=rf"^init_from: \S+ has {part}, which this network lacks; set model\.{part}"):
        load_run(network(classes={"style": 3}), tmp_path / "best.pt")


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint",
        b"\x80\x02" + b"(" * 50,
        Hostile(),
        [],
        {"model": 3},
        {"model": {}},
        {"learner": {"model": None}},
        {"model": {1: torch.zeros(1)}},
        {"model": {"conv1.weight": torch.zeros(64, 3, 7, 7).to_sparse()}},
        {"model": {"conv1.weight": torch.zeros(64, 3, 7, 7, device="meta")}},
        {"model": {"heads.style.weight": torch.tensor(1.0), "heads.style.bias": torch.tensor(1.0)}},
        {"model": {"conv1.weight": torch.zeros(64, 1, 7, 7)}},
    ],
)
def test_a_file_that_is_not_a_checkpoint_of_a_run_is_an_error_of_one_sentence(tmp_path, capsys, content):
    file = tmp_path / "best.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(UserError, match=r"^init_from: \S+ [^\n]+$"):
        load_run(network(classes={"style": 3}, recurrence="lstm"), file)
    assert capsys.readouterr().out == ""


def test_a_damaged_checkpoint_of_a_run_is_refused_and_foreign_files_need_no_checksum(run_yaml, tmp_path):
    assert runs.train(run_yaml(), tmp_path / "first").returncode == 0
    best = tmp_path / "first" / "checkpoints" / "best.pt"
    config = run_yaml("second.yaml", seed=1, init_from=str(tmp_path / "first"))
    good = best.read_bytes()
    for place in (len(good) // 2, len(good) - 40, -72, -73):  # of the weights, the checksum, and what marks it
        damaged = bytearray(good)
        damaged[place] ^= 1
        best.write_bytes(damaged)
        ended = runs.train(config, tmp_path / "second")
        assert ended.returncode == 2
        assert ended.stderr.startswith(f"error: init_from: {best} is broken (")
        assert ended.stderr.count("\n") == 1
    torch.save(torch.load(io.BytesIO(good), weights_only=True), best)
    assert runs.train(config, tmp_path / "second").returncode == 0
