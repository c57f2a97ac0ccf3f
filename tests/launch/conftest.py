"""Fixtures of all tests of launch/."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .fake_slurm import FakeSlurm
from .tiny_grid import TinyGrid


@pytest.fixture
def tiny(tmp_path: Path) -> TinyGrid:
    """A grid without data: nothing of it can be trained."""
    return TinyGrid(tmp_path)


@pytest.fixture
def trainable(tmp_path: Path, shards: Path) -> Iterator[TinyGrid]:
    """A grid of runs that train in seconds."""
    grid = TinyGrid(tmp_path, str(shards))
    yield grid
    grid.end()


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A SLURM without jobs."""
    return FakeSlurm(tmp_path / "slurm-programs", monkeypatch)
