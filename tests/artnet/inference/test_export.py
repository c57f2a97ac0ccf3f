"""Exported networks: run by other programs they give the run's own logits, or nothing is written."""

import io
import json
import shutil

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from artnet import export, predictions
from artnet.config.sections import ModelConfig
from artnet.inference import exported
from artnet.inference.export_check import Reference, onnx_function, program_function
from artnet.inference.exported import ExportedNetwork, export_program, onnx_bytes, program_bytes
from artnet.inference.forward import MEAN, STD
from artnet.inference.plain_weights import plain_state
from shards.errors import UserError
from shards.index import read_index
from shards.reader import Reader
from tests.artnet import runs
from tests.conftest import build_lively

pytestmark = pytest.mark.usefixtures("one_thread")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

TASKS = ("artist", "style")


@pytest.fixture(scope="module")
def run(trained_run):
    """A run whose evaluation has everything: two tasks, mirror images and adjusted logits."""
    return trained_run(task=TASKS, eval__logit_adjustment=0.5)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """What the command has written of it."""
    out = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("artnet.models.build_model", runs.build_small)
        assert export.main([str(run), "--out", str(out)]) == 0
    return out


def prepared(jpeg, about):
    """A packed painting as `model.json` says, without any code of this project."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    side = round(about["crop_share"] * min(image.size))
    left, top = (image.width - side) // 2, (image.height - side) // 2
    crop = image.crop((left, top, left + side, top + side))
    return np.asarray(crop.resize((about["size"], about["size"]), Image.Resampling.BILINEAR))


def test_another_program_finds_the_stored_predictions(run, folder, shards):
    """A program that knows the two files alone. Pillow resizes to other roundings of pixels, hence the tolerance."""
    about = json.loads((folder / "model.json").read_text())
    session = onnxruntime.InferenceSession(folder / about["files"]["onnx"])
    index, of = read_index(shards), predictions.read(run / "predictions.parquet")
    rows = {key: row for row, key in enumerate(index.table["key"].to_pylist())}
    reader = Reader(index)
    for task, stored in of.splits["test"].items():
        images = np.stack([prepared(reader[rows[key]], about["preprocessing"]) for key in stored.keys])
        assert images.dtype == about["input"]["dtype"]
        (found,) = session.run([task], {about["input"]["name"]: images})
        assert np.abs(found - stored.logits).max() < 0.05
        assert (found.argmax(1) == stored.logits.argmax(1)).mean() > 0.9
        assert about["outputs"][task]["classes"] == index.classes[task]
        assert about["outputs"][task]["temperature"] == of.origin.temperatures[task]
    assert session.get_inputs()[0].shape == ["batch", *about["input"]["shape"][1:]]
    assert [(one.name, one.shape[0]) for one in session.get_outputs()] == [(task, "batch") for task in TASKS]


def test_both_formats_give_the_logits_of_the_network_by_itself(run, folder):
    of = predictions.read(run / "predictions.parquet").origin
    network = runs.build_small(classes={task: len(names) for task, names in of.classes.items()}).eval()
    network.load_state_dict(torch.load(run / "checkpoints" / "best.pt", weights_only=True)["model"])
    size = json.loads((folder / "model.json").read_text())["preprocessing"]["size"]
    for n in (1, 5):
        images = torch.randint(256, (n, size, size, 3), dtype=torch.uint8)
        usual = torchvision.transforms.functional.normalize(
            images.permute(0, 3, 1, 2) / 255, [value / 255 for value in MEAN], [value / 255 for value in STD]
        )
        with torch.no_grad():
            two = network(usual), network(usual.flip(3))
        expected = [
            ((two[0][task] + two[1][task]) / 2 - 0.5 * torch.tensor(of.log_priors[task])).numpy() for task in TASKS
        ]
        for function in (
            onnx_function((folder / "model.onnx").read_bytes()),
            program_function((folder / "model.pt2").read_bytes()),
        ):
            for found, wanted in zip(function(images.numpy()), expected, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("small_network")
def test_nothing_is_written_if_a_logit_is_another(run, tmp_path, capsys, monkeypatch):
    forward = ExportedNetwork.forward
    monkeypatch.setattr(
        ExportedNetwork, "forward", lambda self, images: tuple(of + 2e-3 for of in forward(self, images))
    )
    assert export.main([str(run), "--out", str(tmp_path / "out"), "--format", "torch"]) == 2
    said = capsys.readouterr().err
    assert "model.pt2 would not be the run's own network" in said
    assert "its logits differ by up to 0.002 (at most 0.001 is allowed) and 0 have another top-1" in said
    assert not (tmp_path / "out").exists()


def test_another_top1_is_refused_also_where_logits_are_close():
    own = Reference(np.zeros((2, 1, 1, 3), np.uint8), [np.array([[1.0, 1.0005], [0, 1]])])
    assert own.largest_difference("it", lambda images: [own.logits[0] + 9e-4]) == pytest.approx(9e-4)
    for wrong in (own.logits[0] - [[0, 9e-4], [0, 0]], own.logits[0] + 2e-3, own.logits[0] * np.nan):
        with pytest.raises(UserError, match="it would not be the run's own network"):
            own.largest_difference("it", lambda images, wrong=wrong: [wrong])


@pytest.mark.usefixtures("small_network")
def test_wrong_input_is_one_sentence(run, tmp_path, capsys, monkeypatch):
    lost = shutil.copytree(run, tmp_path / "lost")
    (lost / "predictions.parquet").unlink()
    incomplete = shutil.copytree(run, tmp_path / "incomplete")
    (incomplete / "result.json").unlink()
    newer = shutil.copytree(run, tmp_path / "newer")
    result = json.loads((newer / "result.json").read_text())
    (newer / "result.json").write_text(json.dumps({**result, "format": 2}))
    for folder, said in (
        (lost, "`python -m artnet.evaluate"),
        (incomplete, "is not complete"),
        (newer, "was made by a newer artnet"),
        (tmp_path, "config.yaml"),
    ):
        assert export.main([str(folder), "--weights"]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    monkeypatch.setattr(exported, "NEEDED", ("onnx", "no_such_module"))
    assert export.main([str(run), "--out", str(tmp_path / "out")]) == 2
    assert "ONNX needs no_such_module: pip install 'artnet[export]'" in capsys.readouterr().err


@pytest.mark.parametrize("backbone", ["resnet18", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_torchvision_loads_plain_weights(backbone):
    model = ModelConfig(backbone=backbone)
    network = build_lively(backbone=backbone, recurrence="none", attention="none", classes={"style": 7}).eval()
    theirs = getattr(torchvision.models, backbone)(num_classes=7).eval()
    theirs.load_state_dict(plain_state(network, model, ("style",)))
    images = torch.randn(2, 3, 65, 65)
    with torch.no_grad():
        torch.testing.assert_close(theirs(images), network(images)["style"])


@pytest.mark.usefixtures("small_network")
def test_the_file_of_weights_says_what_it_is(run, trained_run, tmp_path):
    file = tmp_path / "some.safetensors"
    assert export.main([str(run), "--weights", str(file)]) == 0
    state = torch.load(run / "checkpoints" / "best.pt", weights_only=True)["model"]
    found = load_file(file)
    assert sorted(found) == sorted(state)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    with safe_open(file, "np") as opened:
        about = opened.metadata()
    assert json.loads(about["classes"]) == predictions.read(run / "predictions.parquet").origin.classes
    assert export.main([str(trained_run()), "--weights", "--out", str(tmp_path)]) == 0
    assert {"fc.weight", "fc.bias"} < set(load_file(tmp_path / "weights.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "recurrence", "attention"),
    [
        ("resnet18", "none", "se"),
        ("resnet18", "rla", "cbam"),
        ("resnet18", "lstm", "eca"),
        ("resnet18", "gru", "cbam_channel"),
        ("resnet50", "lstm", "cbam"),
    ],
)  # tests/artnet/models exports all combinations without what is around them here
def test_networks_of_all_parts_can_be_exported(backbone, recurrence, attention):
    network: nn.Module = build_lively(
        backbone=backbone, recurrence=recurrence, attention=attention, classes={"artist": 23, "style": 5}
    )
    network = ExportedNetwork(network.eval(), True, {"artist": torch.randn(23), "style": torch.randn(5)}).eval()
    program = export_program(network, 65)
    images = torch.randint(256, (3, 65, 65, 3), dtype=torch.uint8)
    with torch.no_grad():
        own = Reference(images.numpy(), [of.numpy() for of in network(images)])
    # These networks are not trained, and their logits are large.
    scale = max(float(np.abs(of).max()) for of in own.logits)
    for function in (onnx_function(onnx_bytes(program, TASKS)), program_function(program_bytes(program))):
        for found, wanted in zip(function(images.numpy()), own.logits, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-4 * scale)
