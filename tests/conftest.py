"""A small demo data set, packed once for all tests."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shards.demo import dataset as demo
from shards.pack import pack

ROOT = Path(__file__).resolve().parents[1]
WIKIART = ROOT.parent / "shared" / "wikiart"

needs_wikiart = pytest.mark.skipif(not WIKIART.is_dir(), reason=f"no real paintings at {WIKIART}")

# In the background and under nohup these are ignored, also in the processes that tests start.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

# The smallest training there is: 33 pixels, one epoch, seconds on one core.
TINY = {
    "recipe": "modern",
    "task": "style",
    "model.backbone": "resnet18",
    "data.size": 33,
    "data.threads": 1,
    "augment.policy": "none",
    "train.epochs": 1,
    "train.batch_size": 16,
    "train.log_every": 1,
}


@pytest.fixture(scope="session")
def paintings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of demo paintings: `images` and `labels`."""
    folder = tmp_path_factory.mktemp("paintings")
    demo.write(folder, paintings=200, seed=0)
    return folder


@pytest.fixture(scope="session")
def shards(paintings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo paintings, packed."""
    out = tmp_path_factory.mktemp("packed") / "shards"
    pack(paintings / "images", paintings / "labels", out)
    return out


@pytest.fixture
def run_yaml(tmp_path: Path, shards: Path) -> Callable[..., Path]:
    """Write a tiny run's YAML with some dotted keys changed."""
    from artnet.config import unflatten

    def write(name: str = "run.yaml", **changes: object) -> Path:
        values = {
            **TINY,
            "data.shards": str(shards),
            **{key.replace("__", "."): v for key, v in changes.items()},
        }
        file = tmp_path / name
        file.write_text(yaml.safe_dump(unflatten(values)))
        return file

    return write


def environment(**variables: str) -> dict[str, str]:
    """The environment of a process of this project: one thread, this code."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables}


def python(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run this interpreter in the repository with one thread, and return what it said."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def in_time() -> Iterator[None]:
    """A test that hangs fails."""

    def over(*_: object) -> None:
        raise TimeoutError("this takes for ever")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that all users of the machine can read, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread, and the same random numbers for every test."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def build_lively(**names: Any) -> Any:
    """A model without norms that start at zero, which would hide what is before them."""
    import torch

    from artnet.models import build_model

    model = build_model(**names)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    return model
