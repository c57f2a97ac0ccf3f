"""Fixtures for the tests of shards/."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

import shards.pack
from shards.labels import Painting, read_labels
from shards.study import study_splits
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
