"""What is stored of every painting: the run's predictions, made in training or later, and scores on other shards."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artnet import evaluate, predictions
from artnet.inference.temperature import fit_temperature
from artnet.rundir import RunDir
from shards.demo import dataset as demo
from shards.errors import UserError
from shards.index import read_index
from shards.pack import pack
from tests.artnet import runs
from tests.conftest import TINY

TASKS = ["style", "genre"]


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete run of two tasks."""
    folder = tmp_path_factory.mktemp("trained")
    config = {**TINY, "task": TASKS, "data.shards": str(shards), "eval.logit_adjustment": 0.5, "train.epochs": 2}
    (folder / "run.json").write_text(json.dumps(config))
    ended = runs.train(folder / "run.json", folder / "run")
    assert ended.returncode == 0, ended.stderr
    return folder / "run"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are loaded with the network that they were trained with."""
    monkeypatch.setattr("artnet.models.build_model", runs.build_small)


def test_the_stored_predictions_are_those_of_the_result(trained, shards):
    run, index = RunDir(trained), read_index(shards)
    result = run.result()
    found = predictions.read(run.predictions_file, result.signature)
    assert (found.origin.data, found.origin.epoch) == (index.fingerprint, result.best_epoch)
    assert found.origin.classes == {task: index.classes[task] for task in TASKS}
    assert found.origin.protocol.logit_adjustment == 0.5
    assert (found.origin.short_side, found.origin.quality) == (256, 90)
    for split in ("val", "test"):
        rows, labels = index.select(split, tuple(TASKS))
        for column, task in enumerate(TASKS):
            known, scores = labels[:, column] >= 0, getattr(result.tasks[task], split)
            one = found.splits[split][task]
            assert one.keys.tolist() == [index.table["key"][int(row)].as_py() for row in rows[known]]
            assert one.labels.tolist() == labels[known, column].tolist()
            assert scores.correct == one.correct.sum()
            assert scores.top1 == scores.correct / scores.n
            chances = one.probabilities()[np.arange(len(one)), one.labels]
            assert scores.nll == pytest.approx(-np.log(chances).mean(), abs=1e-6)
            best = np.argsort(-one.logits, 1, kind="stable")[:, :5]
            assert scores.top5 == pytest.approx((best == one.labels[:, None]).any(1).mean(), abs=1e-6)


def test_paintings_of_one_scene_are_one_group(trained):
    groups = predictions.read(RunDir(trained).predictions_file).splits["test"]["style"].groups
    assert 1 < len(set(groups.tolist())) <= len(groups)


def test_predictions_that_are_missing_or_broken_are_made_again(trained, small, capsys):
    run = RunDir(trained)
    whole, result = run.predictions_file.read_bytes(), run.result_file.read_bytes()
    expected = predictions.read(run.predictions_file)
    run.predictions_file.unlink()
    assert evaluate.main([str(trained)]) == 0
    made = predictions.read(run.predictions_file)
    assert made.origin == expected.origin
    assert (made.splits["test"]["style"].logits == expected.splits["test"]["style"].logits).all()
    run.predictions_file.write_bytes(whole[:-100])
    assert evaluate.main([str(trained)]) == 0
    assert predictions.read(run.predictions_file).origin == expected.origin
    assert evaluate.main([str(trained)]) == 0
    assert capsys.readouterr().out.count("is written") == 2
    assert run.result_file.read_bytes() == result


@pytest.mark.slow
def test_two_ranks_make_the_predictions_that_one_makes(trained, tmp_path):
    alone = predictions.read(RunDir(trained).predictions_file)
    run = RunDir(shutil.copytree(trained, tmp_path / "run"))
    run.predictions_file.unlink()
    ranks = runs.Ranks(2, tmp_path / "log", runs.command_as_rank, "evaluate", [str(run.path)])
    assert ranks.wait() == [0, 0], ranks.output()
    assert ranks.output().count("is written") == 1
    assert "says otherwise" not in ranks.output()
    found = predictions.read(run.predictions_file)
    assert found.origin == alone.origin
    for split, tasks in alone.splits.items():
        for task, one in tasks.items():
            other = found.splits[split][task]
            assert other.keys.tolist() == one.keys.tolist()
            assert other.labels.tolist() == one.labels.tolist()
            # Of batches of other sizes, sums are rounded differently, and then to float16.
            np.testing.assert_allclose(other.logits, one.logits, rtol=2e-3, atol=2e-3)


def test_a_run_is_scored_on_other_shards_by_the_names_of_their_classes(trained, small, tmp_path, capsys):
    demo.write(tmp_path, paintings=220, seed=1)
    pack(tmp_path / "images", tmp_path / "labels", tmp_path / "shards")
    before = RunDir(trained).predictions_file.read_bytes()
    assert evaluate.main([str(trained), "--shards", str(tmp_path / "shards")]) == 0
    n = len(read_index(tmp_path / "shards").select("test", ("style",))[0])
    assert f" {n} " in capsys.readouterr().out
    assert RunDir(trained).predictions_file.read_bytes() == before


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("label", -1, "a label that is no class"),
        ("label", 99, "a label that is no class"),
        ("key", "same", "a painting twice"),
        ("logits", [1.0], "a finite logit for each class"),
        ("logits", [float("nan")] * 5, "a finite logit for each class"),
        ("group", None, "empty values"),
    ],
)
def test_a_file_of_other_values_is_broken(trained, tmp_path, column, value, said):
    table = pq.read_table(RunDir(trained).predictions_file)
    wrong = pa.array([value] * len(table), table.schema.field(column).type)
    file = tmp_path / "predictions.parquet"
    pq.write_table(table.set_column(table.schema.get_field_index(column), table.schema.field(column), wrong), file)
    with pytest.raises(UserError, match=said):
        predictions.read(file)


def test_a_file_without_its_origin_or_of_another_run_is_refused(trained, tmp_path):
    run, file = RunDir(trained), tmp_path / "predictions.parquet"
    pq.write_table(pq.read_table(run.predictions_file).replace_schema_metadata({"artnet": '{"format": 1}'}), file)
    with pytest.raises(UserError, match="values of its metadata are wrong"):
        predictions.read(file)
    with pytest.raises(UserError, match="another run"):
        predictions.read(run.predictions_file, "another signature")
    with pytest.raises(UserError, match=r"artnet\.evaluate"):
        predictions.read(tmp_path / "nowhere.parquet")


def test_a_run_that_is_not_complete_is_refused(tmp_path, trained, capsys):
    RunDir(tmp_path).write_config(RunDir(trained).config())
    assert evaluate.main([str(tmp_path)]) == 2
    assert "is not complete (result.json is missing)" in capsys.readouterr().err


def test_the_temperature_makes_confidence_right():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4))
    powers = np.exp(logits)
    labels = (powers.cumsum(1) / powers.sum(1, keepdims=True) < rng.random((20_000, 1))).sum(1)
    assert fit_temperature(3 * logits, labels) == pytest.approx(3, rel=0.05)
    assert 0.05 <= fit_temperature(np.eye(3) * 5, np.arange(3)) < 0.2
