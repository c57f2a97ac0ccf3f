"""Fixtures for the tests of shards/."""

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

import shards.pack
from shards.labels import Painting, read_labels
from shards.study import study_splits
from shards.tasks import TASKS
from tests.conftest import WIKIART


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pack in this process, for tests that are not about processes."""

    @contextmanager
    def serial_map(function: Callable, items: Sequence, workers: int | None = None) -> Iterator[Iterator]:
        yield map(function, items)

    monkeypatch.setattr(shards.pack, "parallel_map", serial_map)


@pytest.fixture(scope="session")
def official() -> list[Painting]:
    """The paintings of the published label lists."""
    return list(read_labels(WIKIART / "labels").paintings.values())


@pytest.fixture(scope="session")
def study(official: list[Painting]) -> list[dict[str, str]]:
    """The splits of the study."""
    return study_splits(official, seed=0)


@pytest.fixture(scope="session")
def invented() -> list[Painting]:
    """900 paintings of random classes; each is missing in the lists of a task with a probability of 1 in 4."""
    rng = random.Random(0)
    paintings = []
    for number in range(900):
        painting = Painting(f"style/{number}.jpg")
        for task, classes in zip(TASKS, (6, 9, 4), strict=True):
            if rng.random() < 0.75:
                painting.labels[task] = int(classes * rng.random() ** 2)
                painting.listed[task] = "val" if rng.random() < 0.1 else "train"
        paintings.append(painting)
    return paintings


def digest(splits: list[dict[str, str]]) -> str:
    """A short hash of splits, to compare them with those of earlier versions."""
    return hashlib.sha256(json.dumps(splits, sort_keys=True).encode()).hexdigest()[:16]
