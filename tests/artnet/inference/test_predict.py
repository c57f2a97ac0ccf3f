"""Predictions of a model on a split, and their scores."""

import numpy as np
import pytest
import torch
from torch import nn

from artnet.config import RunConfig, build
from artnet.data.dataset import SplitData
from artnet.distributed.ranks import Ranks
from artnet.errors import DivergedError
from artnet.inference.forward import PixelNetwork, precision_warning
from artnet.inference.predict import Predictions, log_priors, predict
from shards.index import read_index
from shards.reader import Reader
from shards.tasks import TASKS

ALONE = Ranks(0, 1, 1, torch.device("cpu"))


def test_scores_match_values_counted_by_hand():
    generator = torch.Generator().manual_seed(0)
    logits = torch.rand(300, 7, generator=generator)  # between 0 and 1, as probabilities would be
    labels = torch.randint(0, 6, (300,), generator=generator)  # no image of the last class
    scores = Predictions(logits, labels, torch.arange(300)).scores()
    probabilities = logits.softmax(1)
    right, guess, confidence = logits.topk(5).indices == labels[:, None], logits.argmax(1), probabilities.max(1).values
    hits = (guess == labels).float()
    f1 = [2 * ((guess == c) & (labels == c)).sum() / ((guess == c).sum() + (labels == c).sum()) for c in range(7)]
    bins = (confidence * 15).long()
    gaps = [(hits[bins == b].mean() - confidence[bins == b].mean()).abs() * (bins == b).sum() for b in bins.unique()]
    assert scores.n == 300
    assert scores.correct == right[:, 0].sum()
    assert scores.top1 == pytest.approx(right[:, 0].float().mean().item())
    assert scores.top5 == pytest.approx(right.any(1).float().mean().item())
    assert scores.macro_f1 == pytest.approx(torch.stack(f1).mean().item())
    assert scores.nll == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert scores.ece == pytest.approx(sum(gaps).item() / 300, rel=1e-5)
    assert scores.recall[:6] == pytest.approx([hits[labels == c].mean().item() for c in range(6)])
    assert scores.recall[6] is None


def test_scores_of_logits_that_are_not_finite_raise():
    with pytest.raises(DivergedError):
        Predictions(torch.full((3, 3), torch.nan), torch.tensor([0, 1, 2]), torch.arange(3)).scores()


def test_priors_are_shares_of_the_training_labels_and_finite_for_a_class_without_any():
    priors = log_priors(np.array([[0], [0], [2], [-1]]), {"style": 4})["style"]
    assert priors.exp().tolist() == pytest.approx([2 / 5, 1 / 5, 1 / 5, 1 / 5])


class Channels(nn.Module):
    """Logits that depend on the left half of an image, so that they differ for the mirror image."""

    def __init__(self, classes: dict[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({task: nn.Linear(3, n) for task, n in classes.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        left = images[..., : images.shape[-1] // 2].mean((2, 3))
        return {task: head(left) for task, head in self.heads.items()}


@pytest.fixture
def predicting(shards, one_thread):
    """Predict val with `Channels` under a configuration. Returns the logits and labels of each task."""
    index = read_index(shards)
    classes = {task: len(index.classes[task]) for task in TASKS}
    model, reader = Channels(classes), Reader(index)

    def run(**changes: object) -> tuple[dict[str, Predictions], dict[str, torch.Tensor]]:
        config: RunConfig = build({"task": list(TASKS), "data": {"size": 33}, "eval": changes})
        priors = log_priors(SplitData(config, "train", index, reader).labels, classes)
        return predict(PixelNetwork(model), SplitData(config, "val", index, reader), ALONE, 1, priors), priors

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
        assert torch.allclose(both[task].logits, (plain[task].logits + mirrored[task].logits) / 2, atol=1e-3)


def test_logit_adjustment_subtracts_tau_times_the_log_prior(predicting):
    plain, _ = predicting(flip=False)
    adjusted, priors = predicting(flip=False, logit_adjustment=0.7)
    for task in TASKS:
        assert torch.allclose(adjusted[task].logits, plain[task].logits - 0.7 * priors[task], atol=2e-3)


def test_a_gpu_that_emulates_bf16_is_named(monkeypatch):
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert "Tesla T4 emulates bf16" in precision_warning(gpu, "bf16")
    assert not precision_warning(gpu, "fp16")
    assert not precision_warning(torch.device("cpu"), "bf16")
