"""What is minimised, measured and shown: losses, scores, the journal and TensorBoard's final file."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from artnet.config import RunConfig, build
from artnet.data.dataset import SplitData
from artnet.distributed import Ranks
from artnet.errors import DivergedError
from artnet.inference.predict import Predictions, predict
from artnet.rundir import EXIT_STOPPED, RunDir
from artnet.sections import LossConfig
from artnet.training.losses import Objective, labelled, log_priors, masked_losses
from artnet.training.metrics import Throughput
from shards.errors import UserError
from shards.index import read_index
from shards.labels import TASKS
from shards.reader import Reader
from tests.conftest import ROOT, python

ALONE = Ranks(0, 1, 1, torch.device("cpu"))
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def train(config: Path, folder: Path, *launcher: str) -> subprocess.CompletedProcess[str]:
    ended = python(*launcher, "-m", "artnet.train", "--config", config, "--run-dir", folder)
    assert ended.returncode == 0, ended.stderr
    return ended


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "tensors": 0})
    return found.Reload()


def test_scores_are_those_counted_by_hand():
    generator = torch.Generator().manual_seed(0)
    logits = torch.rand(300, 7, generator=generator)  # between 0 and 1, as probabilities would be
    labels = torch.randint(0, 6, (300,), generator=generator)  # no image of the last class
    scores = Predictions(logits, labels).scores()
    probabilities = logits.softmax(1)
    right, guess, confidence = logits.topk(5).indices == labels[:, None], logits.argmax(1), probabilities.max(1).values
    hits = (guess == labels).float()
    f1 = [2 * ((guess == c) & (labels == c)).sum() / ((guess == c).sum() + (labels == c).sum()) for c in range(7)]
    bins = (confidence * 15).long()
    gaps = [(hits[bins == b].mean() - confidence[bins == b].mean()).abs() * (bins == b).sum() for b in bins.unique()]
    assert scores.n == 300
    assert scores.top1 == pytest.approx(right[:, 0].float().mean().item())
    assert scores.top5 == pytest.approx(right.any(1).float().mean().item())
    assert scores.macro_f1 == pytest.approx(torch.stack(f1).mean().item())
    assert scores.nll == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert scores.ece == pytest.approx(sum(gaps).item() / 300, rel=1e-5)
    assert scores.recall[:6] == pytest.approx([hits[labels == c].mean().item() for c in range(6)])
    assert scores.recall[6] is None


def test_scores_of_a_model_that_gives_no_numbers_are_none():
    with pytest.raises(DivergedError):
        Predictions(torch.full((3, 3), torch.nan), torch.tensor([0, 1, 2])).scores()


class Channels(nn.Module):
    """Answers with what the left half of an image is like, so a mirror image gets another answer."""

    def __init__(self, classes: dict[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({task: nn.Linear(3, n) for task, n in classes.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        left = images[..., : images.shape[-1] // 2].mean((2, 3))
        return {task: head(left) for task, head in self.heads.items()}


@pytest.fixture
def predicting(shards, one_thread):
    """What `Channels` predicts for val under some configuration: the logits and labels of each task."""
    index = read_index(shards)
    classes = {task: len(index.classes[task]) for task in TASKS}
    model, reader = Channels(classes), Reader(index)

    def run(**changes: object) -> tuple[dict[str, Predictions], dict[str, torch.Tensor]]:
        config: RunConfig = build({"task": list(TASKS), "data": {"size": 33}, "eval": changes})
        priors = log_priors(SplitData(config, "train", index, reader).labels, classes)
        return predict(model, SplitData(config, "val", index, reader), ALONE, 1, priors), priors

    return run


def test_flipped_evaluation_averages_a_painting_and_its_mirror_image(predicting):
    plain, _ = predicting(flip=False)
    both, _ = predicting(flip=True)
    assert not torch.allclose(plain["style"].logits, both["style"].logits)
    wide = Channels.forward
    Channels.forward = lambda self, images: wide(self, images.flip(3))
    try:
        mirrored, _ = predicting(flip=False)
    finally:
        Channels.forward = wide
    for task in TASKS:
        assert torch.allclose(both[task].logits, (plain[task].logits + mirrored[task].logits) / 2, atol=1e-5)


def test_logit_adjustment_takes_tau_times_the_log_prior_from_the_logits(predicting):
    plain, _ = predicting(flip=False)
    adjusted, priors = predicting(flip=False, logit_adjustment=0.7)
    for task in TASKS:
        assert torch.allclose(adjusted[task].logits, plain[task].logits - 0.7 * priors[task], atol=1e-6)


def test_priors_are_shares_of_the_training_labels_and_finite_for_a_class_without_any():
    priors = log_priors(np.array([[0], [0], [2], [-1]]), {"style": 4})["style"]
    assert priors.exp().tolist() == pytest.approx([2 / 5, 1 / 5, 1 / 5, 1 / 5])


def objective(counts: dict[str, list[int]], ranks: Ranks = ALONE, **config: object) -> Objective:
    priors = {task: torch.tensor(n).clamp(min=1).float().log() for task, n in counts.items()}
    return Objective(LossConfig(label_smoothing=0, **config), priors, ranks)


def test_the_loss_is_the_mean_over_the_labelled_paintings_of_all_ranks():
    class Peer(Ranks):
        """Two ranks of which the other has 3 style labels and no artist label."""

        def sum(self, values: torch.Tensor) -> torch.Tensor:
            return values + torch.tensor([0, 3])

    peer = Peer(0, 2, 2, torch.device("cpu"))
    logits = {"artist": torch.randn(2, 4, requires_grad=True), "style": torch.randn(2, 5, requires_grad=True)}
    mixture = [(torch.tensor([[-1, 2], [-1, -1]]), 1.0)]
    weighted = objective({"artist": [1] * 4, "style": [1] * 5}, peer, weights={"style": 0.5})
    loss, part = weighted(logits, mixture, labelled(mixture, peer))
    expected = 0.5 * nn.functional.cross_entropy(logits["style"][:1], torch.tensor([2])) / 4
    assert part.item() == pytest.approx(expected.item())
    assert loss.item() == pytest.approx(2 * expected.item())
    loss.backward()
    assert not logits["artist"].grad.any()
    assert torch.isfinite(logits["style"].grad).all()


def test_balanced_softmax_weighs_each_class_by_its_training_images():
    counts, logits, labels = [60, 30, 0], torch.randn(4, 3), torch.tensor([0, 1, 2, 2])
    balanced = objective({"style": counts}, balance="balanced_softmax")
    loss, _ = balanced({"style": logits}, [(labels[:, None], 1.0)], torch.tensor([4.0]))
    # Ren et al., equation 3; a class never seen counts as seen once.
    weighed = logits.exp() * torch.tensor([60.0, 30.0, 1.0])
    assert loss.item() == pytest.approx(-(weighed / weighed.sum(1, True))[range(4), labels].log().mean().item())


def test_learnt_weights_follow_kendalls_formula_however_the_batch_is_divided():
    learnt = objective({"artist": [1] * 4, "style": [1] * 5}, weighting="uncertainty")
    with torch.no_grad():
        learnt.log_variances.copy_(torch.tensor([0.3, -0.2]))
    logits = {"artist": torch.randn(6, 4), "style": torch.randn(6, 5)}
    mixture = [(torch.tensor([[0, 1], [1, -1], [-1, -1], [3, 4], [2, 0], [1, 1]]), 1.0)]
    counts = labelled(mixture, ALONE)
    losses = masked_losses(list(logits.values()), mixture, 0, counts)
    s = torch.tensor([0.3, -0.2], requires_grad=True)
    expected = ((-s).exp() * losses + s / 2).sum()
    expected.backward()
    for parts in (1, 2):
        learnt.zero_grad()
        total = 0.0
        for rows in torch.arange(6).chunk(parts):
            some = {task: task_logits[rows] for task, task_logits in logits.items()}
            loss, part = learnt(some, [(mixture[0][0][rows], 1.0)], counts, parts)
            loss.backward()
            total += part.item()
        assert total == pytest.approx(expected.item(), rel=1e-5)
        assert torch.allclose(learnt.log_variances.grad, s.grad, atol=1e-6)


TWO_RANKS = """
import sys, json, torch
from artnet.sections import LossConfig
from artnet.training.losses import Objective, labelled
from artnet.distributed import process_group
with process_group() as ranks:
    torch.manual_seed(0)
    net = torch.nn.ModuleDict({"artist": torch.nn.Linear(3, 4), "style": torch.nn.Linear(3, 5),
                               "genre": torch.nn.Linear(3, 2)})
    images = torch.randn(4, 3)
    # Rank 1 has no artist label; nobody has a genre label.
    labels = torch.tensor([[0, 1, -1], [2, -1, -1], [-1, 3, -1], [-1, 0, -1]])
    priors = {"artist": torch.zeros(4), "style": torch.zeros(5), "genre": torch.zeros(2)}
    objective = Objective(LossConfig(weighting="uncertainty"), priors, ranks)
    own = slice(2 * ranks.rank, 2 * ranks.rank + 2) if ranks.world_size == 2 else slice(0, 4)
    class Heads(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net
        def forward(self, x):
            return {name: head(x) for name, head in self.net.items()}
    model = Heads()
    if ranks.world_size == 2:
        model = torch.nn.parallel.DistributedDataParallel(model)
    mixture = [(labels[own], 1.0)]
    loss, part = objective(model(images[own]), mixture, labelled(mixture, ranks))
    loss.backward()
    grads = [p.grad.flatten().tolist() for p in net.parameters()]
    total = float(ranks.sum(part.clone()))
    out = [objective.log_variances.grad.tolist(), grads, total]
    open(f"{sys.argv[1]}/{ranks.world_size}-{ranks.rank}.json", "w").write(json.dumps(out))
"""


def test_two_ranks_of_which_one_lacks_labels_learn_what_one_process_learns(tmp_path):
    (tmp_path / "script.py").write_text(TWO_RANKS)
    environment = {"PYTHONPATH": str(ROOT)}
    for launcher in ((), TORCHRUN):
        ended = python(*launcher, tmp_path / "script.py", tmp_path, **environment)
        assert ended.returncode == 0, ended.stderr
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert first == second
    assert first[0] == pytest.approx(alone[0], rel=1e-5)
    assert first[0][2] == 0  # no label of a genre anywhere: its weight stays
    assert all(math.isfinite(value) for value in first[0])
    for grad, wanted in zip(first[1], alone[1], strict=True):
        assert grad == pytest.approx(wanted, rel=1e-4, abs=1e-7)
    assert first[2] == pytest.approx(alone[2], rel=1e-5)


def test_weights_that_are_learnt_and_given_are_refused():
    with pytest.raises(UserError, match=r"loss\.weights"):
        build({"task": "style", "loss": {"weighting": "uncertainty", "weights": {"style": 2}}})


def test_waiting_for_data_is_measured_as_a_share_of_the_time(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    throughput = Throughput(10, torch.device("cpu"))

    def slow():
        nonlocal now
        for _ in range(3):
            now += 1  # second to read a batch
            yield "batch"

    for _ in throughput.waiting(slow()):
        now += 4  # seconds to learn from it
    assert (throughput.lap()["data_wait"], now) == (0.2, 115)
    now += 5
    assert throughput.lap()["data_wait"] == 0


def test_three_heads_learn_from_all_partly_labelled_paintings_and_are_scored_on_labelled_ones(run_yaml, tmp_path):
    """On two ranks, with learnt weights, and every part of the final file."""
    config = run_yaml(task=list(TASKS), loss__weighting="uncertainty", data__labelled="any", train__log_every=3)
    said = train(config, tmp_path / "run", *TORCHRUN).stdout
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
    assert f"step 1/{result.steps}, loss " in said
    assert "Wilson's over test images" in said
    final = events(run.tensorboard)
    assert {f"confusion/{split}/{task}" for split in ("val", "test") for task in TASKS} == set(final.Tags()["images"])
    assert set(final.PluginTagToContent("pr_curves")) == {f"precision_recall/val/{task}" for task in TASKS}
    assert len(final.PluginTagToContent("hparams")) == 3
    assert final.Scalars("best/test/style/top1")[0].value == pytest.approx(result.tasks["style"].test.top1)
    assert [path for path in run.tensorboard.iterdir() if path.is_dir()] == []  # one run is one row


def test_what_a_run_draws_at_its_end_is_there_once_even_if_it_ends_twice(run_yaml, tmp_path):
    train(run_yaml(), tmp_path / "run")
    run = RunDir(tmp_path / "run")
    torn = run.tensorboard / ".events.out.tfevents.final.x.tmp"
    torn.write_bytes(b"torn")
    run.result_file.unlink()  # as if it had been killed in between
    train(run_yaml(), tmp_path / "run")
    assert not torn.exists()
    assert len(events(run.tensorboard).Images("confusion/val/style")) == 1


def test_training_ends_early_when_val_gets_no_better_and_says_so(run_yaml, tmp_path):
    # A rate so small that no answer changes.
    said = train(run_yaml(train__epochs=9, train__early_stop=2, optim__lr=1e-12), tmp_path / "run").stdout
    result = RunDir(tmp_path / "run").result()
    assert result.epochs < 9
    assert result.epochs == result.best_epoch + 2
    assert len(RunDir(tmp_path / "run").epochs()) == result.epochs
    assert result.steps == RunDir(tmp_path / "run").epochs()[-1]["step"]
    assert f"stopped early after epoch {result.epochs} of 9" in said


def test_losses_are_logged_over_the_same_steps_wherever_a_run_was_stopped(run_yaml, tmp_path):
    config = run_yaml(train__epochs=2, train__log_every=4)
    train(config, tmp_path / "whole")
    command = [sys.executable, "-m", "artnet.train", "--config", str(config), "--run-dir", str(tmp_path / "cut")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    cut = RunDir(tmp_path / "cut")
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    while not cut.metrics():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode == EXIT_STOPPED
    assert "after step " in said
    train(config, tmp_path / "cut")
    losses = [
        [(line["step"], line.get("loss"), line.get("train/loss")) for line in RunDir(tmp_path / name).metrics()]
        for name in ("whole", "cut")
    ]
    assert losses[0] == losses[1]
