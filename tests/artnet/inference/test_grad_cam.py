"""Grad-CAM: its maps against ones that are computed without captum, and the pictures of `predict --explain`."""

import io
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from artnet import predict
from artnet.inference.forward import PixelNetwork
from artnet.inference.grad_cam import grad_cam
from artnet.inference.pictures import View, load_pictures
from artnet.inference.trained import TrainedRun
from artnet.rundir import RunDir
from shards.index import read_index
from shards.reader import Reader
from tests.artnet.test_outliers import complete_run
from tests.conftest import build_lively

pytest.importorskip("captum", reason="captum, the extra `explain`, is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")


def evidence(network: PixelNetwork, pixels: torch.Tensor, number: int) -> torch.Tensor:
    """The map of one picture as the paper has it: channels weighted by their mean gradient, what is positive."""
    held = {}
    last = network.network.layer4[-1]
    hook = last.register_forward_hook(lambda module, given, out: held.update(maps=out))
    logit = network(pixels)["style"][0, number]
    hook.remove()
    (gradient,) = torch.autograd.grad(logit, held["maps"])
    return (held["maps"] * gradient.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu().detach()


@pytest.mark.parametrize(("recurrence", "flip"), [("none", False), ("lstm", True)])
def test_maps_are_those_of_the_paper_for_the_class_of_each_picture(recurrence, flip):
    network = PixelNetwork(
        build_lively(backbone="resnet18", recurrence=recurrence, attention="none", classes={"style": 4})
    ).eval()
    run = SimpleNamespace(
        network=network, device=torch.device("cpu"), config=SimpleNamespace(eval=SimpleNamespace(flip=flip))
    )
    images = torch.randint(0, 256, (2, 128, 128, 3), dtype=torch.uint8)
    found = grad_cam(run, images, "style", [1, 3])
    for row, number in enumerate((1, 3)):
        pixels = images[row : row + 1].float()
        map_ = evidence(network, pixels, number)
        if flip:
            map_ = map_ + evidence(network, pixels.flip(2), number).flip(3)
        map_ = torch.nn.functional.interpolate(map_, (128, 128), mode="bilinear")[0, 0]
        assert map_.amax() > 0
        np.testing.assert_allclose(found[row], map_ / map_.amax(), atol=1e-4)
    assert not np.allclose(found[0], grad_cam(run, images[:1], "style", [2])[0], atol=1e-2)


def test_explain_writes_a_picture_for_each_answer(shards, tmp_path):
    run = complete_run(tmp_path / "run", shards, weights=True)
    index = read_index(shards)
    files = [tmp_path / "pictures" / name for name in ("b.jpg", "odd name<.jpg", "a.jpg")]
    files[0].parent.mkdir()
    for file, row in zip(files, index.select("test", ("artist",))[0].tolist(), strict=False):
        file.write_bytes(Reader(index)[row])
    broken = tmp_path / "pictures" / "broken.jpg"
    broken.write_bytes(b"")
    out, answers = tmp_path / "out", tmp_path / "answers.jsonl"
    given = [run.path, files[0], broken, *files[1:], "--explain", out, "--jsonl", answers]
    assert predict.main([str(word) for word in given]) == 1
    names = ["0001-b-artist.jpg", "0003-odd_name_-artist.jpg", "0004-a-artist.jpg"]
    assert sorted(file.name for file in out.iterdir()) == names

    trained = TrainedRun(RunDir(run.path), torch.device("cpu"))
    lines = {line["file"]: line for line in map(json.loads, answers.read_text().splitlines())}
    for file, name in zip(files, names, strict=True):
        (batch,) = load_pictures([file], [View.of(trained.predictions.origin)], 1, 1)
        first = lines[str(file)]["answers"]["artist"]["classes"][0]
        heat = grad_cam(trained, batch.images[0], "artist", [index.classes["artist"].index(first)])[0]
        coloured = cv2.applyColorMap((255 * cv2.resize(heat, (224, 224))).astype(np.uint8), cv2.COLORMAP_TURBO)
        picture = cv2.resize(batch.images[0][0].numpy(), (224, 224), interpolation=cv2.INTER_CUBIC)
        with Image.open(io.BytesIO((out / name).read_bytes())) as overlay:
            difference = np.asarray(overlay, float) - (picture / 2 + coloured[..., ::-1] / 2.0)
        assert np.abs(difference).mean() < 4  # of JPEG
