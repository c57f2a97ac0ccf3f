"""A run's features: computed independently, stored, read again, and their neighbours."""

import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from artnet import embed, embeddings, predictions
from artnet.analysis import projection
from artnet.analysis.projection import Projection
from artnet.checkpoint import BEST
from shards.errors import UserError
from shards.index import read_index
from shards.reader import Reader
from tests.artnet import runs
from tests.artnet.data.test_data import damage

pytestmark = pytest.mark.usefixtures("one_thread", "small_network")

TWO = ("artist", "style")


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of a run of two tasks."""
    return shutil.copytree(trained_run(task=TWO), tmp_path / "run")


def test_the_heads_give_the_stored_logits_of_the_features(run, shards):
    """Of val and test, whose predictions a training has computed by itself; in order, with labels and splits."""
    assert embed.main([str(run)]) == 0
    found, of = embeddings.read(run / "embeddings.parquet"), predictions.read(run / "predictions.parquet")
    state = torch.load(run / "checkpoints" / BEST, weights_only=True)["model"]
    place = {key: row for row, key in enumerate(found.keys)}
    for split, tasks in of.splits.items():
        for task, stored in tasks.items():
            rows = [place[key] for key in stored.keys]
            logits = (
                found.features[rows] @ state[f"heads.{task}.weight"].numpy().T + state[f"heads.{task}.bias"].numpy()
            )
            np.testing.assert_allclose(logits, stored.logits, rtol=2e-3, atol=2e-3)
            assert found.labels[task][rows].tolist() == stored.labels.tolist()
            assert (found.splits[task] == split).sum() == len(stored)
    table = read_index(shards).table.to_pandas().set_index("key")
    used = table[(table[[f"split_{task}" for task in TWO]] != "").any(axis=1)]
    assert found.keys.tolist() == used.index.tolist()
    for task in TWO:
        assert found.splits[task].tolist() == used[f"split_{task}"].tolist()
        assert found.labels[task].tolist() == [
            label if split else -1 for label, split in zip(used[task], used[f"split_{task}"], strict=True)
        ]


@pytest.mark.slow
def test_two_ranks_compute_what_one_does(run, tmp_path):
    assert embed.main([str(run)]) == 0
    alone, both = embeddings.read(run / "embeddings.parquet"), tmp_path / "both.parquet"
    ranks = runs.Ranks(2, tmp_path / "log", runs.command_as_rank, "embed", [str(run), "--out", str(both)])
    assert ranks.wait() == [0, 0], ranks.output()
    assert ranks.output().count(f"features of {len(alone)} paintings") == 1
    found = embeddings.read(both)
    assert found.origin == alone.origin
    assert found.keys.tolist() == alone.keys.tolist()
    # Of batches of other sizes, sums are rounded differently.
    np.testing.assert_allclose(found.features, alone.features, rtol=1e-4, atol=1e-5)
    for task in TWO:
        assert found.labels[task].tolist() == alone.labels[task].tolist()
        assert found.splits[task].tolist() == alone.splits[task].tolist()


def test_a_second_call_reads_the_file_and_another_epoch_or_a_broken_file_is_computed_again(run, monkeypatch, capsys):
    file = run / "embeddings.parquet"
    embed.main([str(run)])
    whole, before = file.read_bytes(), file.stat().st_ino
    assert embed.main([str(run)]) == 0
    assert file.stat().st_ino == before
    table = pq.read_table(file)
    about = table.schema.metadata[b"artnet"]
    assert about.count(b'"epoch":1') == 1
    pq.write_table(table.replace_schema_metadata({"artnet": about.replace(b'"epoch":1', b'"epoch":2')}), file)
    for broken in (file.read_bytes(), whole[: len(whole) // 2], b""):
        file.write_bytes(broken)
        assert embed.main([str(run)]) == 0
        assert file.read_bytes() == whole
    pq.write_table(table.replace_schema_metadata({"artnet": about.replace(b'"format":1', b'"format":2')}), file)
    assert embed.main([str(run)]) == 2
    assert "made by a newer artnet" in capsys.readouterr().err


def test_a_damaged_painting_of_train_is_left_out_not_replaced(trained_run, shards, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("artnet.data.dataset.MAX_DAMAGED_SHARE", 0.01)
    index = read_index(shards)
    row = int(index.select("train", ("style",))[0][3])
    damage(shards, tmp_path / "shards", [row])
    run = shutil.copytree(trained_run(), tmp_path / "run")
    for folder, out in ((shards, "whole"), (tmp_path / "shards", "rest")):
        assert embed.main([str(run), "--shards", str(folder), "--out", str(tmp_path / out)]) == 0
    key = index.table["key"][row].as_py()
    assert f"{key} of all splits is damaged and left out" in capsys.readouterr().err
    whole, rest = (embeddings.read(tmp_path / out) for out in ("whole", "rest"))
    kept = whole.keys != key
    assert kept.sum() == len(whole) - 1
    assert rest.keys.tolist() == whole.keys[kept].tolist()
    # Of batches of other sizes, sums are rounded differently.
    np.testing.assert_allclose(rest.features, whole.features[kept], rtol=1e-4, atol=1e-5)


def test_similarities_are_cosines():
    features = np.array([[1, 0], [3, 3], [0, 0], [-2, 0]], np.float32)
    found = embeddings.Embeddings(None, np.array(list("abcd")), features, {}, {})
    assert found.similarities(np.array([2.0, 0])) == pytest.approx([1, 0.5**0.5, 0, -1])


def test_a_painting_of_the_shards_is_the_nearest_to_itself(run, shards, tmp_path, capsys):
    index = read_index(shards)
    row = int(index.select("val", TWO)[0][0])
    key = index.table["key"][row].as_py()
    (tmp_path / "it.jpg").write_bytes(Reader(index)[row])
    assert embed.main([str(run), "--near", str(tmp_path / "it.jpg"), "--neighbours", "3"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if re.search(r" [01]\.\d{4} *$", line)]
    assert len(rows) == 3
    found = embeddings.read(run / "embeddings.parquet")
    assert (rows[0][0], rows[0][-1]) == (key, "1.0000")
    features = found.features.astype(float)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    cosines = np.sort(features @ features[found.keys.tolist().index(key)])[::-1]
    assert [float(row[-1]) for row in rows] == pytest.approx(cosines[:3], abs=1e-4)


def test_a_map_is_drawn_and_says_that_it_is_no_evidence(run, tmp_path, capsys):
    file = tmp_path / "map.png"
    assert embed.main([str(run), "--map", str(file), "--task", "style"]) == 0
    assert "distances in two dimensions are no evidence" in capsys.readouterr().out
    assert file.read_bytes().startswith(b"\x89PNG")


def test_a_map_by_umap_is_drawn_where_it_puts_the_paintings(run, tmp_path, capsys, monkeypatch):
    drawn = []

    def in_a_row(features):
        drawn.append(features)
        return Projection(np.stack([np.arange(len(features)), np.zeros(len(features))], 1), ("UMAP 1", "UMAP 2"))

    monkeypatch.setattr(projection, "umap", in_a_row)
    given = [str(run), "--map", str(tmp_path / "map.png")]
    assert embed.main([*given, "--umap"]) == 0
    assert np.array_equal(drawn[0], embeddings.read(run / "embeddings.parquet").features)
    by_umap = (tmp_path / "map.png").read_bytes()
    assert embed.main(given) == 0
    assert (tmp_path / "map.png").read_bytes() != by_umap and len(drawn) == 1
    capsys.readouterr()
    assert embed.main([str(run), "--umap"]) == 2
    assert "options of --map FILE.png" in capsys.readouterr().err


def test_wrong_input_is_one_sentence(run, tmp_path, capsys):
    (tmp_path / "text.jpg").write_text("no picture")
    for options, said in (
        (["--near", str(tmp_path / "text.jpg")], "text.jpg cannot be read (not one of"),
        (["--near", str(tmp_path / "none.jpg")], "none.jpg cannot be read (No such file or directory)"),
        (["--map", str(tmp_path / "map.png"), "--task", "genre"], "has no task genre; --task artist or style"),
    ):
        assert embed.main([str(run), *options]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    (run / "result.json").unlink()
    assert embed.main([str(run)]) == 2
    assert "is not complete" in capsys.readouterr().err


def test_a_file_that_holds_something_else_is_refused_in_a_sentence(tmp_path, run):
    with pytest.raises(UserError, match=r"embeddings.parquet is missing; `python -m artnet.embed .*` makes it"):
        embeddings.read(run / "embeddings.parquet")
    with pytest.raises(UserError, match="is broken"):
        embeddings.read(run / "predictions.parquet")
