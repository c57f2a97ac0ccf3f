"""Complete runs: the files they write, with several ranks, and the input they refuse."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from artnet import sources
from artnet.config import build, load, unflatten
from artnet.data.dataset import SplitData
from artnet.distributed.ranks import Ranks
from artnet.inference.forward import PixelNetwork
from artnet.inference.predict import log_priors, predict
from artnet.models import build_model
from artnet.rundir import RunDir
from artnet.training import learner, progress
from artnet.training.trainer import Trainer
from shards.errors import UserError
from shards.index import read_index
from shards.reader import Reader
from shards.tasks import TASKS
from tests.artnet import runs
from tests.artnet.training.conftest import EVERYTHING, events
from tests.conftest import TINY, python

ALONE = Ranks(0, 1, 1, torch.device("cpu"))


def test_a_run_writes_the_documented_files(run_yaml, tmp_path, shards):
    config_file = run_yaml(task=["artist", "style", "genre"])
    ended = python("-m", "artnet.train", *runs.arguments(config_file, tmp_path / "run"))
    assert ended.returncode == 0, ended.stderr
    run = RunDir(tmp_path / "run")
    config = load(config_file)
    assert run.config().signature == config.signature
    result = run.result(config.signature)
    assert result is not None
    assert run.result("another signature") is None
    index = read_index(shards)
    assert result.data == index.fingerprint
    for task in TASKS:
        _, labels = index.select("test", (task,))
        assert result.tasks[task].test.n == len(labels)
        assert result.tasks[task].majority_class == index.classes[task][np.bincount(labels[:, 0]).argmax()]
        assert result.tasks[task].majority == pytest.approx(np.bincount(labels[:, 0]).max() / len(labels))
    (attempt,) = run.run()["attempts"]
    assert (attempt["outcome"], attempt["world_size"], attempt["from_step"]) == ("complete", 1, 0)
    assert attempt["sources"] == sources.digests()
    assert [line["epoch"] for line in run.epochs()] == [1]
    assert list(run.tensorboard.glob("events*"))
    again = runs.train(config_file, tmp_path / "run")
    assert again.returncode == 0
    assert "complete already" in again.stdout
    assert len(run.run()["attempts"]) == 1


@pytest.mark.slow
def test_two_ranks_train_three_heads_and_test_every_labelled_painting_once(run_yaml, tmp_path):
    """With partly labelled paintings and learned weights; also checks all parts of the final file."""
    config = run_yaml(task=list(TASKS), loss__weighting="uncertainty", data__labelled="any", train__log_every=3)
    ended = python("-m", "artnet.train", *runs.arguments(config, tmp_path / "run", "--processes", "2"))
    assert ended.returncode == 0, ended.stderr
    run = RunDir(tmp_path / "run")
    result, index = run.result(), read_index(Path(run.config().data.shards))
    rows, labels = index.select("test", TASKS, "any")
    assert len(index.select("train", TASKS, "all")[0]) < len(index.select("train", TASKS, "any")[0])
    assert {task: scored.test.n for task, scored in result.tasks.items()} == {
        task: int((labels[:, column] >= 0).sum()) for column, task in enumerate(TASKS)
    }
    assert result.tasks["artist"].test.n < len(rows)
    assert result.steps == len(index.select("train", TASKS, "any")[0]) // 16
    steps = [line for line in run.metrics() if line["kind"] == "step"]
    assert [line["step"] for line in steps] == [1, *range(3, result.steps + 1, 3)]
    assert steps[-1]["weight/style"] != 1
    assert {"loss", "lr", "images_per_s", "data_wait", "memory_gib"} <= steps[-1].keys()
    assert f"step 1/{result.steps}, loss " in ended.stdout
    assert "Wilson's over test images" in ended.stdout
    final = events(run.tensorboard)
    assert {f"confusion/test/{task}" for task in TASKS} == set(final.Tags()["images"])
    once = {tag for tag in final.Tags()["scalars"] if tag.startswith("z_best/")}
    assert once == {f"z_best/{split}/{task}/top1" for split in ("val", "test") for task in TASKS}
    assert set(final.PluginTagToContent("pr_curves")) == {f"precision_recall/val/{task}" for task in TASKS}
    assert len(final.PluginTagToContent("hparams")) == 3
    assert final.Scalars("z_best/test/style/top1")[0].value == pytest.approx(result.tasks["style"].test.top1)
    assert {file.parent for file in run.path.rglob("events*")} == {run.path}  # one run is one row, of its name
    assert run.run()["attempts"][0]["world_size"] == 2
    # The published val scores are those of the published model, though each rank has its own batch statistics.
    config, classes = run.config(), {task: len(index.classes[task]) for task in TASKS}
    model = build_model(**config.model.model_dump(), classes=classes)
    model.load_state_dict(torch.load(run.checkpoints / "best.pt", weights_only=True)["model"])
    train_split, val_split = (SplitData(config, split, index, Reader(index)) for split in ("train", "val"))
    val = predict(PixelNetwork(model), val_split, ALONE, 1, log_priors(train_split.labels, classes))
    for task in TASKS:
        assert result.tasks[task].val.nll == pytest.approx(val[task].scores().nll, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__depth": 3}, "model.depth"),
        ({"optim__lr": -1}, "optim.lr"),
        ({"train__batch_size": 5000}, "train.batch_size"),
        ({"data__shards": "/nowhere"}, "/nowhere"),
    ],
)
def test_wrong_input_ends_in_one_sentence(run_yaml, tmp_path, changes, message):
    ended = runs.train(run_yaml(**changes), tmp_path / "run")
    assert ended.returncode == 2
    assert message in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_folder_of_another_run_is_refused_and_the_keys_that_differ_are_named(run_yaml, tmp_path):
    run = RunDir(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    shutil.copy(run_yaml(seed=1, data__threads=2), run.config_file)
    for left in (run.checkpoints / "last.pt", run.result_file, run.state_file):
        left.touch()
        ended = runs.train(run_yaml(task=["style", "genre"], optim__decay_norms=True), run.path)
        assert ended.returncode == 2
        assert ended.stderr == (
            f"error: {run.path} holds another run: task is style there and style+genre here, seed is 1 there and 0 "
            "here, optim.decay_norms is false there and true here; choose another --run-dir\n"
        )
        left.unlink()


def test_a_run_that_began_nothing_gives_its_folder_to_the_next(run_yaml, tmp_path, monkeypatch):
    run = RunDir(tmp_path / "run")
    for wrong in ({"train__batch_size": 5000}, {"init_from": "/nowhere/run"}):
        assert runs.train(run_yaml(**wrong), run.path).returncode == 2
        assert run.config_file.exists()
    # Another one fails at its first step: what it noted is not of the run that gets the folder.
    with monkeypatch.context() as patch:
        patch.setattr(learner, "learning_rate", lambda *_: 1e30)
        assert runs.train(run_yaml(seed=1, train__log_every=4), run.path).returncode == 1
    assert run.bad_batch_file.exists()
    with run.locked():
        ended = runs.train(run_yaml(), run.path)
        assert (ended.returncode, "being trained by another process" in ended.stderr) == (2, True)
        assert run.config().seed == 1
    ended = runs.train(run_yaml(), run.path)
    assert ended.returncode == 0, ended.stderr
    assert [attempt["outcome"] for attempt in run.run()["attempts"]] == ["complete"]
    assert not run.bad_batch_file.exists()


def test_result_json_is_written_last_and_read_strictly(run_yaml, tmp_path):
    assert runs.train(run_yaml(), tmp_path / "run").returncode == 0
    run = RunDir(tmp_path / "run")
    good = json.loads(run.result_file.read_text())
    for broken in ({**good, "tasks": {}}, {**good, "steps": "many"}, {**good, "best_epoch": 0}):
        run.result_file.write_text(json.dumps(broken))
        assert run.result() is None
    run.result_file.write_text(run.result_file.read_text()[:40])
    assert run.result() is None


@pytest.mark.parametrize(
    ("changes", "ranks", "message"),
    [
        ({"optim.warmup": 99, "optim.warmup_unit": "epochs"}, ALONE, "optim.warmup 99 epochs"),
        ({"train.accumulate": 8}, Ranks(0, 4, 4, torch.device("cpu")), "make it a multiple of 32"),
        ({"init_from": "/nowhere/run"}, ALONE, "init_from: /nowhere/run"),
    ],
)
def test_a_configuration_that_does_not_fit_the_data_is_refused_at_the_start(shards, tmp_path, changes, ranks, message):
    config = build(unflatten({**TINY, **changes})).with_shards(str(shards))
    with pytest.raises(UserError, match=message):
        Trainer(config, read_index(shards), RunDir(tmp_path / "run"), ranks, None, config.train.accumulate)


def _ever_better(rank, arguments):
    """Train so that every epoch is the best so far."""
    lower = itertools.count(0, -1)
    progress.mean_top1 = lambda scores: next(lower)  # called for an epoch's scores, then for the best ones
    runs.train_as_rank(rank, arguments, ())


def test_two_ranks_with_everything_on_start_from_a_run_and_publish_the_average(run_yaml, tmp_path, shards):
    index = read_index(shards)
    (tmp_path / "first" / "checkpoints").mkdir(parents=True)
    model = runs.SmallNetwork({"style": len(index.classes["style"])})
    torch.save({"model": model.state_dict()}, tmp_path / "first" / "checkpoints" / "best.pt")
    changes = {**EVERYTHING, "train__epochs": 2, "train__log_every": 1000, "init_from": str(tmp_path / "first")}
    changes["train__keep"] = "all"
    config, run = run_yaml(task=["artist", "style"], **changes), RunDir(tmp_path / "run")
    ranks = runs.Ranks(2, tmp_path / "log", _ever_better, runs.arguments(config, run.path))
    assert ranks.wait() == [0, 0], ranks.output()
    assert (
        f"started from {tmp_path / 'first'}/checkpoints/best.pt (model); from scratch: the head for artist"
        in ranks.output()
    )
    steps = [line for line in run.metrics() if line["kind"] == "step"]
    assert steps[0]["step"] == 1
    assert all(line["grad_norm"] > 0 for line in steps)
    assert run.run()["attempts"][0]["precision"] == "fp32"
    last = torch.load(run.checkpoints / "last.pt", weights_only=True)["learner"]
    best = torch.load(run.checkpoints / "best.pt", weights_only=True)
    assert best["progress"]["best_epoch"] == 2
    assert torch.equal(best["model"]["conv1.weight"], last["average"]["model"]["conv1.weight"])
    assert not torch.equal(best["model"]["conv1.weight"], last["model"]["conv1.weight"])
    assert not any("module." in name or "_orig_mod" in name for name in best["model"])
