"""An uninterrupted run, to compare with."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from artnet.config import unflatten
from artnet.rundir import RunDir
from tests.artnet import runs
from tests.conftest import TINY

EVERYTHING = {
    "optim__name": "adamw",
    "optim__schedule": "one_cycle",
    "optim__backbone_lr": 0.3,
    "model__drop_path": 0.5,
    "augment__mixup": 0.5,
    "train__accumulate": 2,
    "train__freeze_epochs": 1,
}


@pytest.fixture(scope="session")
def config(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs of seven steps, with a checkpoint after every step, of which the last ones stay."""
    file = tmp_path_factory.mktemp("run") / "run.yaml"
    values = {**TINY, "data.shards": str(shards), "train.epochs": 3, "train.checkpoint_minutes": 1e-6}
    values["train.keep"] = "all"
    file.write_text(yaml.safe_dump(unflatten(values)))
    return file


@pytest.fixture(scope="session")
def whole(config: Path) -> Callable[[int], Path]:
    """The folder of that run, trained without interruption by the given number of ranks."""

    @cache
    def folder(ranks: int) -> Path:
        trained = runs.start(config, config.parent / f"whole{ranks}", ranks)
        assert not any(trained.wait()), trained.output()
        return config.parent / f"whole{ranks}"

    return folder


def curves(folder: Path) -> list[dict]:
    """The metrics of a run, without those that depend on the clock."""
    clock = {"time", "seconds", "images_per_s", "data_wait", "memory_gib"}
    return [{key: value for key, value in line.items() if key not in clock} for line in RunDir(folder).metrics()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["learner"]["model"]


def outcomes(folder: Path) -> list[str]:
    return [attempt.get("outcome", "") for attempt in RunDir(folder).run()["attempts"]]


def assert_same(folder: Path, whole: Path) -> None:
    """Check that two runs have the same metrics, weights and result, bit for bit."""
    assert curves(folder) == curves(whole)
    expected = weights(whole)
    assert all(torch.equal(expected[name], value) for name, value in weights(folder).items())
    assert RunDir(folder).result().tasks == RunDir(whole).result().tasks


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0})
    return found.Reload()
