"""Thumbnails: the paintings of the shards by their keys, no more than fit, and a sentence on those that are missing."""

import base64
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from artnet.analysis.page import thumbnails as module
from artnet.analysis.page.thumbnails import SIDE, thumbnails
from artnet.analysis.results import Run
from artnet.rundir import RunDir
from shards.index import read_index
from shards.reader import Reader
from tests.artnet.analysis.test_report import SE, plan, result_of


def run_of(shards: Path, data: str = "") -> Run:
    result = result_of(plan(SE), 0.5).model_copy(update={"data": data or read_index(shards).fingerprint})
    return Run(RunDir(shards / "run"), {}, {"data.shards": str(shards)}, ("style",), "complete", "", result)


def confused(*models: list[list[str]]) -> dict[str, Any]:
    """The page's classes of a task, for models with the keys of each of their confusions."""
    return {"style": {"commonest": [[{"keys": keys} for keys in confusions] for confusions in models]}}


def pixels(uri: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))
    assert (picture.format, picture.size) == ("JPEG", (SIDE, SIDE))
    return np.asarray(picture, np.float32)


def test_the_paintings_are_those_of_the_keys(shards: Path) -> None:
    index = read_index(shards)
    keys = index.table["key"].to_pylist()
    found, notes = thumbnails([run_of(shards)], confused([[keys[3], "lost"]], [[keys[1]]]))
    assert set(found) == {keys[3], keys[1]}
    for key in found:
        whole = Image.open(io.BytesIO(Reader(index)[keys.index(key)]))
        assert np.abs(pixels(found[key]) - np.asarray(ImageOps.fit(whole, (SIDE, SIDE)), np.float32)).mean() < 10
    assert np.abs(pixels(found[keys[3]]) - pixels(found[keys[1]])).mean() > 12
    assert notes == ["1 of 3 paintings below the confusions have no thumbnail, but their key."]


def test_there_is_room_for_the_commonest_confusions_of_each_model(shards: Path, monkeypatch: Any) -> None:
    keys = read_index(shards).table["key"].to_pylist()
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    assert list(thumbnails([run_of(shards)], confused([[keys[0]], [keys[1]]], [[keys[2]]]))[0]) == [keys[0]]
    monkeypatch.undo()
    everything = thumbnails([run_of(shards)], confused([[keys[0]], [keys[1]]], [[keys[2]]]))[0]
    assert list(everything) == [keys[0], keys[2], keys[1]]


@pytest.mark.parametrize("is_there", [False, True])
def test_shards_that_are_not_those_of_the_runs_are_named(tmp_path: Path, shards: Path, is_there: bool) -> None:
    run = run_of(shards, data="other")
    if not is_there:
        run = replace(run, config={"data.shards": str(tmp_path / "none")})
    found, notes = thumbnails([run], confused([["a"]]))
    where = shards if is_there else tmp_path / "none"
    assert found == {}
    assert len(notes) == 1 and notes[0].startswith(f"Without the thumbnails of {where}: ")
