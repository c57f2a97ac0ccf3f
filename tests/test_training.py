"""artnet/data and artnet/training: right numbers over any number of ranks, and runs that cannot be lost."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from artnet.config import load
from artnet.data.dataset import SplitData
from artnet.data.loader import Batch
from artnet.distributed import Ranks
from artnet.inference.predict import predict
from artnet.models import build_model
from artnet.rundir import RunDir
from artnet.sections import AugmentConfig, OptimConfig
from artnet.training.losses import log_priors, masked_losses
from artnet.training.mixup import mix
from artnet.training.optim import make_optimizer
from artnet.training.schedule import learning_rate
from shards.index import read_index
from shards.labels import TASKS
from shards.reader import Reader
from tests.conftest import python

ALONE = Ranks(0, 1, 1, torch.device("cpu"))


def train(config: Path, folder: Path, *launcher: str) -> subprocess.CompletedProcess[str]:
    return python(*launcher, "-m", "artnet.train", "--config", config, "--run-dir", folder)


def test_a_run_leaves_what_the_contract_says(run_yaml, tmp_path, shards):
    config_file = run_yaml(task=["artist", "style", "genre"])
    ended = train(config_file, tmp_path / "run")
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
        assert result.tasks[task].majority == pytest.approx(np.bincount(labels[:, 0]).max() / len(labels))
    (attempt,) = run.run()["attempts"]
    assert (attempt["outcome"], attempt["world_size"], attempt["from_step"]) == ("complete", 1, 0)
    assert [line["epoch"] for line in run.epochs()] == [1]
    assert list(run.tensorboard.glob("events*"))
    again = train(config_file, tmp_path / "run")
    assert again.returncode == 0
    assert "complete already" in again.stdout
    assert len(run.run()["attempts"]) == 1


def test_two_ranks_train_and_count_every_test_painting_once(run_yaml, tmp_path, shards):
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    ended = train(run_yaml(task=list(TASKS)), tmp_path / "two", *torchrun)
    assert ended.returncode == 0, ended.stderr
    result = RunDir(tmp_path / "two").result()
    index = read_index(shards)
    assert {task: result.tasks[task].test.n for task in TASKS} == {
        task: len(index.select("test", (task,))[0]) for task in TASKS
    }
    assert RunDir(tmp_path / "two").run()["attempts"][0]["world_size"] == 2
    # The published val scores are those of the published model, though each rank has its own batch statistics.
    config = RunDir(tmp_path / "two").config()
    classes = {task: len(index.classes[task]) for task in TASKS}
    model = build_model(**config.model.model_dump(), classes=classes)
    model.load_state_dict(torch.load(tmp_path / "two" / "checkpoints" / "best.pt", weights_only=True)["model"])
    train_split, val_split = (SplitData(config, split, index, Reader(index)) for split in ("train", "val"))
    val = predict(model, val_split, ALONE, 1, log_priors(train_split.labels, classes))
    for task in TASKS:
        assert result.tasks[task].val.nll == pytest.approx(val[task].scores().nll, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model__depth": 3}, "model.depth"),
        ({"optim__lr": -1}, "optim.lr"),
        ({"train__batch_size": 5000}, "train.batch_size"),
        ({"data__shards": "/nowhere"}, "/nowhere"),
    ],
)
def test_wrong_input_ends_in_one_sentence(run_yaml, tmp_path, changes, said):
    ended = train(run_yaml(**changes), tmp_path / "run")
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_mixed_image_counts_for_both_labels_by_their_share_in_it(kind):
    images = torch.tensor([0, 100, 200], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 32, 32, 3)
    labels = torch.tensor([[0], [1], [-1]])
    shares = set()
    for step in range(20):
        mixed, mixture = mix(Batch(images, labels), AugmentConfig(**{kind: 1.0}), np.random.default_rng(step))
        (own, share), (other, rest) = mixture
        assert share + rest == pytest.approx(1)
        assert (own.tolist(), other.tolist()) == ([[0], [1], [-1]], [[-1], [0], [1]])
        assert mixed.float().mean((1, 2, 3)).tolist() == pytest.approx(
            [200 * rest, 100 * share, 200 * share + 100 * rest], rel=1e-4
        )
        assert len(mixed[1].unique()) == (1 if kind == "mixup" or share in (0, 1) else 2)
        shares.add(share)
        logits = torch.randn(3, 4)
        loss = masked_losses([logits], mixture, 0.0, torch.tensor([2.0]))
        each = -logits.log_softmax(1)
        assert loss.item() == pytest.approx(
            ((share * each[0, 0] + share * each[1, 1] + rest * each[1, 0] + rest * each[2, 1]) / 2).item(), rel=1e-5
        )
    assert len(shares) > 10


def test_a_loss_that_is_no_number_is_no_result(run_yaml, tmp_path):
    diverge = (
        "from artnet import train; from artnet.training import learner; "
        "learner.learning_rate = lambda *_: 1e30; exit(train.main())"
    )
    ended = python("-c", diverge, "--config", run_yaml(), "--run-dir", tmp_path / "run")
    assert ended.returncode == 1, ended.stderr
    assert "lower optim.lr" in ended.stderr
    assert RunDir(tmp_path / "run").result() is None


def test_a_folder_of_another_run_is_refused(run_yaml, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copy(run_yaml(seed=1), tmp_path / "run" / "config.yaml")
    ended = train(run_yaml(), tmp_path / "run")
    assert ended.returncode == 2
    assert "--run-dir" in ended.stderr


def test_schedules_follow_their_formulas():
    cosine = OptimConfig(lr=0.4, schedule="cosine", warmup=0.1)
    rates = [learning_rate(step, 100, 10, 512, cosine) for step in range(100)]
    assert max(rates) == pytest.approx(0.8)
    assert rates[:10] == pytest.approx([0.8 * (step + 1) / 11 for step in range(10)])
    assert rates[55] == pytest.approx(0.4)
    assert rates[99] < 0.001
    steps = OptimConfig(lr=0.1, schedule="step", step_epochs=3, warmup=0)
    assert [learning_rate(step, 80, 10, 256, steps) for step in (0, 29, 30, 60)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.001]
    )
    assert learning_rate(79, 80, 10, 256, OptimConfig(lr=0.1, schedule="constant", warmup=0)) == 0.1


def test_norms_and_biases_are_spared_weight_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    made = make_optimizer(model.named_parameters(), OptimConfig())
    decay = {id(p): g["weight_decay"] for g in made.param_groups for p in g["params"]}
    assert [decay[id(parameter)] > 0 for parameter in model.parameters()] == [True, False, False, False]


def test_result_json_is_written_last_and_read_strictly(run_yaml, tmp_path):
    assert train(run_yaml(), tmp_path / "run").returncode == 0
    run = RunDir(tmp_path / "run")
    good = json.loads(run.result_file.read_text())
    for broken in ({**good, "tasks": {}}, {**good, "extra": 1}, {**good, "best_epoch": 0}):
        run.result_file.write_text(json.dumps(broken))
        assert run.result() is None
    run.result_file.write_text(run.result_file.read_text()[:40])
    assert run.result() is None
