"""The weights that a run starts from are known by their content, and what was begun before stays begun."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from artnet import checkpoint, train, weights
from artnet.config import RunConfig, build
from artnet.models import weight_file
from artnet.models.pretrained import start_from
from artnet.rundir import RunDir
from shards.errors import UserError
from tests.conftest import ROOT, build_lively

COMPLETE = next((ROOT / "tests" / "data" / "version1" / "runs" / "tiny").glob("*/result.json")).parent


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTNET_CACHE", str(tmp_path / "cache"))
    weights._digest_of.cache_clear()


def run(key: str, path: Path, content: bytes | None = None) -> RunConfig:
    """A run that starts from a file, with its digest."""
    if content is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return weights.with_digest(build({"task": "style", key: str(path)}))


@pytest.mark.parametrize("key", ["pretrained", "init_from"])
def test_the_content_of_the_weights_is_signed_and_not_their_place(tmp_path: Path, key: str) -> None:
    one = run(key, tmp_path / "a" / "w.pth", b"one")
    assert run(key, tmp_path / "moved.pth", b"one").signature == one.signature
    assert run(key, tmp_path / "a" / "w.pth", b"two").signature != one.signature  # the size is the same
    other = {"pretrained": "init_from", "init_from": "pretrained"}[key]
    assert run(other, tmp_path / "moved.pth").signature != one.signature
    by_path = build({"task": "style", key: str(tmp_path / "none.pth")})
    assert run(key, tmp_path / "none.pth").signature == by_path.signature


def test_the_moving_average_of_a_file_makes_another_run_and_needs_a_file(tmp_path: Path) -> None:
    plain = run("pretrained", tmp_path / "w.pth", b"w")
    values = {"task": "style", "pretrained": str(tmp_path / "w.pth")}
    assert weights.with_digest(build({**values, "weights_ema": False})).signature == plain.signature
    assert weights.with_digest(build({**values, "weights_ema": True})).signature != plain.signature
    for source in ({}, {"pretrained": "imagenet"}):
        with pytest.raises(UserError, match="weights_ema is of a file of weights; name that"):
            build({"task": "style", "weights_ema": True, **source})


def test_the_weights_of_a_run_are_signed_once_it_is_complete(tmp_path: Path) -> None:
    source = tmp_path / "source"
    early = run("init_from", source / "checkpoints" / "best.pt", b"best").model_copy(update={"init_from": str(source)})
    assert run("init_from", source).weights_sha256 is None
    shutil.copy(COMPLETE / "result.json", source)
    assert run("init_from", source).weights_sha256 == early.weights_sha256 is not None


def test_digests_are_kept_for_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run("pretrained", tmp_path / "w.pth", b"one")
    weights._digest_of.cache_clear()
    monkeypatch.setattr(weights, "file_sha256", lambda file: "f" * 64)
    assert run("pretrained", tmp_path / "w.pth") == first
    os.utime(tmp_path / "w.pth", ns=(1, 1))
    assert run("pretrained", tmp_path / "w.pth").weights_sha256 == "f" * 64


def test_a_run_begun_under_its_path_or_a_file_that_is_gone_keeps_its_folder(tmp_path: Path) -> None:
    def begin(config: RunConfig) -> RunConfig:
        RunDir(tmp_path / "runs" / config.name).write_config(config.with_shards("x"))
        return config

    old = begin(build({"task": "style", "pretrained": str(tmp_path / "old.pth")}))
    now = run("pretrained", tmp_path / "old.pth", b"old")
    assert now.signature != old.signature
    assert weights.as_begun(now, tmp_path / "runs").signature == old.signature
    begin(run("pretrained", tmp_path / "old.pth", b"other"))  # of the same path, begun later
    assert weights.as_begun(now, tmp_path / "runs").signature == old.signature

    new = begin(run("init_from", tmp_path / "new.pth", b"new"))
    (tmp_path / "new.pth").unlink()
    gone = run("init_from", tmp_path / "new.pth")
    assert gone.signature != new.signature == weights.as_begun(gone, tmp_path / "runs").signature
    for other in ({"seed": 1}, {"init_from": str(tmp_path / "third.pth")}):
        unknown = build({"task": "style", "init_from": str(tmp_path / "new.pth"), **other})
        assert weights.as_begun(unknown, tmp_path / "runs") == unknown


def test_training_goes_on_in_a_folder_of_the_path_and_refuses_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "run.yaml"
    file.write_text("task: style\npretrained: w.pth\ndata.shards: x\n")
    old = build({"task": "style", "pretrained": "w.pth", "data": {"shards": "x"}})
    RunDir(tmp_path / "runs" / old.name).write_config(old)
    (tmp_path / "w.pth").write_bytes(b"w")
    assert train.prepare(file, None, None)[1].name == old.name
    RunDir(tmp_path / "mine").write_config(old)
    assert train.prepare(file, None, tmp_path / "mine")[0].signature == old.signature
    mine = RunDir(tmp_path / "mine")
    planned = run("pretrained", tmp_path / "w.pth")
    mine.write_config(planned)
    (tmp_path / "w.pth").write_bytes(b"changed")
    with pytest.raises(UserError, match=r"w\.pth holds other weights than when this run was planned"):
        start_from(
            build_lively(backbone="resnet18", recurrence="none", attention="none", classes={"style": 2}), planned
        )


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_has_no_end_is_not_read_as_weights_or_a_checkpoint(tmp_path, kind):
    file = tmp_path / "last.pt"
    os.mkfifo(file) if kind == "pipe" else file.symlink_to("/dev/zero")
    for key in ("init_from", "pretrained"):
        with pytest.raises(UserError, match=f"{key}: .* cannot be read .it is not a regular file"):
            weights.check_readable(weights.with_digest(build({"task": "style", key: str(file)})))
    with pytest.raises(UserError, match=f"{file} cannot be read"):
        weight_file.read(file)
    with pytest.raises(checkpoint.BrokenError, match=f"{file} is broken"):
        checkpoint.load(file, torch.device("cpu"))
