"""A complete run with the small network, trained in a fraction of a second."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from unittest import mock

import pytest

from artnet.config import unflatten
from tests.artnet import runs
from tests.conftest import TINY


@pytest.fixture(scope="session")
def trained_run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a complete run with these dotted keys changed (`data__size=40`). Tests must not change it."""

    @cache
    def folder(**changes: object) -> Path:
        place = tmp_path_factory.mktemp("trained")
        values = {**TINY, "data.shards": str(shards), **{key.replace("__", "."): v for key, v in changes.items()}}
        (place / "run.yaml").write_text(json.dumps(unflatten(values)))  # JSON is YAML, and knows tuples
        ended = runs.train(place / "run.yaml", place / "run")
        assert ended.returncode == 0, ended.stderr
        return place / "run"

    return folder


@pytest.fixture
def small_network() -> Iterator[None]:
    """Runs are loaded with the small network, as `trained_run` has trained them."""
    with mock.patch("artnet.models.build_model", runs.build_small):
        yield
