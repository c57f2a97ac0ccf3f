"""The training loss: several heads, mixed images, and ranks that lack labels."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from artnet.config import build
from artnet.config.sections import AugmentConfig, LossConfig
from artnet.data.batch import Batch
from artnet.distributed.group import process_group
from artnet.distributed.ranks import Ranks
from artnet.training.losses import Objective, count_labelled, masked_losses
from artnet.training.mixup import mix
from shards.errors import UserError
from tests.artnet import runs

ALONE = Ranks(0, 1, 1, torch.device("cpu"))


def objective(counts: dict[str, list[int]], ranks: Ranks = ALONE, **config: object) -> Objective:
    priors = {task: torch.tensor(n).clamp(min=1).float().log() for task, n in counts.items()}
    return Objective(LossConfig(label_smoothing=0, **config), priors, ranks)


def test_the_loss_is_the_mean_over_the_labelled_paintings_of_all_ranks():
    class Peer(Ranks):
        """Two ranks of which the other has 3 style labels and no artist label."""

        def start_sum(self, values: torch.Tensor) -> Callable[[], torch.Tensor]:
            return lambda: values + torch.tensor([0, 3])

    peer = Peer(0, 2, 2, torch.device("cpu"))
    logits = {"artist": torch.randn(2, 4, requires_grad=True), "style": torch.randn(2, 5, requires_grad=True)}
    mixture = [(torch.tensor([[-1, 2], [-1, -1]]), 1.0)]
    weighted = objective({"artist": [1] * 4, "style": [1] * 5}, peer, weights={"style": 0.5})
    loss, part = weighted(logits, mixture, count_labelled(mixture, peer)())
    expected = 0.5 * nn.functional.cross_entropy(logits["style"][:1], torch.tensor([2])) / 4
    assert part.item() == pytest.approx(expected.item())
    assert loss.item() == pytest.approx(2 * expected.item())
    loss.backward()
    assert not logits["artist"].grad.any()
    assert torch.isfinite(logits["style"].grad).all()


def test_balanced_softmax_weights_each_class_by_its_training_images():
    counts, logits, labels = [60, 30, 0], torch.randn(4, 3), torch.tensor([0, 1, 2, 2])
    balanced = objective({"style": counts}, balance="balanced_softmax")
    loss, _ = balanced({"style": logits}, [(labels[:, None], 1.0)], torch.tensor([4.0]))
    # Ren et al., equation 3; a class without paintings counts as if it had one.
    weighed = logits.exp() * torch.tensor([60.0, 30.0, 1.0])
    assert loss.item() == pytest.approx(-(weighed / weighed.sum(1, True))[range(4), labels].log().mean().item())


def test_learned_weights_follow_kendalls_formula_for_any_accumulation():
    learned = objective({"artist": [1] * 4, "style": [1] * 5}, weighting="uncertainty")
    with torch.no_grad():
        learned.log_variances.copy_(torch.tensor([0.3, -0.2]))
    logits = {"artist": torch.randn(6, 4), "style": torch.randn(6, 5)}
    mixture = [(torch.tensor([[0, 1], [1, -1], [-1, -1], [3, 4], [2, 0], [1, 1]]), 1.0)]
    counts = count_labelled(mixture, ALONE)()
    losses = masked_losses(list(logits.values()), mixture, 0, counts)
    s = torch.tensor([0.3, -0.2], requires_grad=True)
    expected = ((-s).exp() * losses + s / 2).sum()
    expected.backward()
    for parts in (1, 2):
        learned.zero_grad()
        total = 0.0
        for rows in torch.arange(6).chunk(parts):
            some = {task: task_logits[rows] for task, task_logits in logits.items()}
            loss, part = learned(some, [(mixture[0][0][rows], 1.0)], counts, parts)
            loss.backward()
            total += part.item()
        assert total == pytest.approx(expected.item(), rel=1e-5)
        assert torch.allclose(learned.log_variances.grad, s.grad, atol=1e-6)


class Linear(nn.Module):
    """A head for each task on three features."""

    def __init__(self, classes):
        super().__init__()
        self.heads = nn.ModuleDict({task: nn.Linear(3, n) for task, n in classes.items()})

    def forward(self, x):
        return {task: head(x) for task, head in self.heads.items()}


def _learn(rank, folder):
    """The gradients and the loss of one batch, of which each of two ranks has a half."""
    with process_group() as ranks:
        torch.manual_seed(0)
        model = Linear({"artist": 4, "style": 5, "genre": 2})
        images = torch.randn(4, 3)
        # Rank 1 has no artist label, and neither rank has a genre label.
        labels = torch.tensor([[0, 1, -1], [2, -1, -1], [-1, 3, -1], [-1, 0, -1]])
        uncertain = objective({"artist": [1] * 4, "style": [1] * 5, "genre": [1] * 2}, ranks, weighting="uncertainty")
        own = slice(2 * rank, 2 * rank + 2) if ranks.world_size == 2 else slice(0, 4)
        parallel = nn.parallel.DistributedDataParallel(model) if ranks.world_size == 2 else model
        mixture = [(labels[own], 1.0)]
        loss, part = uncertain(parallel(images[own]), mixture, count_labelled(mixture, ranks)())
        loss.backward()
        gradients = [parameter.grad.flatten().tolist() for parameter in model.parameters()]
        learned = [uncertain.log_variances.grad.tolist(), gradients, float(ranks.sum(part.clone()))]
        (folder / f"{ranks.world_size}-{rank}.json").write_text(json.dumps(learned))


def test_two_ranks_of_which_one_lacks_labels_learn_the_same_as_one_process(tmp_path):
    for world_size in (1, 2):
        ranks = runs.Ranks(world_size, tmp_path / "log", _learn, tmp_path)
        assert not any(ranks.wait()), ranks.output()
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert first == second
    assert first[0] == pytest.approx(alone[0], rel=1e-5)
    assert first[0][2] == 0  # no label of a genre anywhere: its weight stays
    assert all(math.isfinite(value) for value in first[0])
    for grad, wanted in zip(first[1], alone[1], strict=True):
        assert grad == pytest.approx(wanted, rel=1e-4, abs=1e-7)
    assert first[2] == pytest.approx(alone[2], rel=1e-5)


def test_weights_that_are_both_learned_and_given_are_refused():
    with pytest.raises(UserError, match=r"loss\.weights"):
        build({"task": "style", "loss": {"weighting": "uncertainty", "weights": {"style": 2}}})


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
