"""A training step: restored at any step, in parts, frozen, in half precision, and with two ranks."""

import copy
import functools
import io
import math

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from artnet.config import build, unflatten
from artnet.data.batch import Batch
from artnet.distributed.group import process_group
from artnet.distributed.ranks import Ranks
from artnet.inference.forward import forward
from artnet.training import learner as learner_module
from artnet.training.learner import Learner
from artnet.training.losses import Objective
from artnet.training.optim import make_optimizer
from tests.artnet import runs
from tests.artnet.training.conftest import EVERYTHING
from tests.conftest import TINY

CLASSES = {"artist": 4, "style": 3}
ALONE = Ranks(0, 1, 1, torch.device("cpu"))
EPOCH = 2  # steps in an epoch of `learner`'s runs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setattr(learner_module, "build_model", runs.build_small)


def learner(ranks=ALONE, epochs=5, fixed_norms=False, **changes):
    """A learner of a tiny run. With `fixed_norms` a sample's logits do not depend on what else is in its batch."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    config = build(unflatten({**TINY, "task": ["artist", "style"], "train.epochs": epochs, **changes}))
    objective = Objective(config.loss, {task: torch.zeros(n) for task, n in CLASSES.items()}, ranks)
    made = Learner(config, CLASSES, ranks, epochs * EPOCH, EPOCH, objective)
    for module in made.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            if fixed_norms:
                module.eval().train = lambda mode=True, module=module: module
    return made


def batch(step, n=16):
    """A batch in which some paintings, and whole parts, lack labels."""
    generator = torch.Generator().manual_seed(step)
    images = torch.randint(256, (n, 33, 33, 3), dtype=torch.uint8, generator=generator)
    labels = torch.stack([torch.randint(-1, k, (n,), generator=generator) for k in CLASSES.values()], 1)
    labels[: n // 4] = -1
    return Batch(images, labels)


def tensors(state):
    """Every tensor in a nested state, in order."""
    if isinstance(state, torch.Tensor):
        return [state]
    values = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return [tensor for value in values for tensor in tensors(value)]


def test_a_step_is_clipped_and_reports_the_norm_before():
    free, clipped = learner(optim__clip_norm=0), learner(optim__clip_norm=0.01)
    norms = [one.step(batch(0), 0).grad_norm.item() for one in (free, clipped)]
    assert norms[0] == norms[1] > 0.01
    buffers = [
        math.hypot(*(state["momentum_buffer"].norm().item() for state in one.optimizer.state.values()))
        for one in (free, clipped)
    ]
    decay = 5e-5 * math.hypot(*(p.norm().item() for p in free.model.parameters()))  # SGD adds it to the gradient
    assert buffers == pytest.approx([norms[0], 0.01], abs=decay + 1e-4)


def test_a_step_uses_the_learning_rate_of_its_schedule():
    one = learner(optim__schedule="linear", optim__warmup=0, optim__backbone_lr=0.5)
    assert one.step(batch(3), 3).lr == pytest.approx(0.1 * 16 / 256 * (1 - 3 / 10))
    rates = {group["lr"] for group in one.optimizer.param_groups}
    assert sorted(rates) == pytest.approx([0.0021875, 0.004375])


def test_the_average_is_evaluated_if_there_is_one():
    averaged, plain = learner(), learner(optim__ema_half_life=0)
    averaged.step(batch(0), 0)
    assert torch.equal(averaged.for_evaluation().conv1.weight, averaged.model.conv1.weight)
    first = averaged.model.conv1.weight.detach().clone()
    averaged.step(batch(1), 1)
    expected = torch.lerp(first, averaged.model.conv1.weight, 9 / 11)
    torch.testing.assert_close(averaged.for_evaluation().conv1.weight, expected, check_stride=False)
    assert plain.for_evaluation() is plain.model
    assert averaged.for_evaluation() is averaged.average.model
    assert not torch.equal(averaged.for_evaluation().conv1.weight, averaged.model.conv1.weight)


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_learner_restored_at_any_step_continues_bit_for_bit(stop):
    whole = learner(**EVERYTHING)
    for step in range(5):
        if step == stop:
            file = io.BytesIO()
            torch.save(whole.state_dict(), file)
        whole.step(batch(step), step)
    torch.manual_seed(12345)
    restored = learner(**EVERYTHING)
    restored.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    restored.share_gradients()
    torch.rand(3)
    for step in range(stop, 5):
        restored.step(batch(step), step)
    expected, found = tensors(whole.state_dict()), tensors(restored.state_dict())
    assert len(expected) == len(found) > 50
    assert all(map(torch.equal, expected, found))


def test_a_batch_in_parts_gives_the_same_gradient():
    whole, parts = (learner(train__accumulate=k, augment__mixup=1, fixed_norms=True) for k in (1, 4))
    reports = [one.step(batch(0), 0) for one in (whole, parts)]
    assert reports[0].loss.item() == pytest.approx(reports[1].loss.item(), rel=1e-5)
    assert reports[0].grad_norm.item() == pytest.approx(reports[1].grad_norm.item(), rel=1e-4)
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_only_the_heads_learn_while_the_backbone_is_frozen():
    one = learner(train__freeze_epochs=1)
    first = copy.deepcopy(one.model.state_dict())

    def changed():
        return {name for name, value in one.model.state_dict().items() if not torch.equal(value, first[name])}

    for step in range(EPOCH):
        one.step(batch(step), step)
    assert changed() == {f"heads.{task}.{part}" for task in CLASSES for part in ("weight", "bias")}
    one.step(batch(EPOCH), EPOCH)
    assert {"conv1.weight", "bn2.weight", "bn1.running_mean", "bn1.num_batches_tracked"} <= changed()


def test_under_fp16_overflowing_steps_are_skipped_and_the_scale_is_kept():
    """Only GPUs compute in fp16; the scaler is torch's for CPUs."""
    plain, scaled = learner(optim__clip_norm=0.1), learner(optim__clip_norm=0.1)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    norms = [one.step(batch(0), 0).grad_norm.item() for one in (plain, scaled)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-5)
    torch.testing.assert_close(scaled.model.conv1.weight, plain.model.conv1.weight)
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=3e38)
    for head in scaled.model.heads.values():
        head.weight.data.mul_(1000)
    before = scaled.model.conv1.weight.detach().clone()
    assert not math.isfinite(scaled.step(batch(1), 1).grad_norm.item())
    assert torch.equal(scaled.model.conv1.weight, before)
    restored = learner()
    restored.scaler = torch.amp.GradScaler("cpu")
    restored.load_state_dict(scaled.state_dict())
    assert restored.scaler.get_scale() == pytest.approx(1.5e38)


@pytest.fixture
def fused(monkeypatch):
    """The optimizers of GPUs, whose kernels exist for CPUs too."""
    monkeypatch.setattr(
        learner_module, "make_optimizer", lambda named, config, **_: make_optimizer(named, config, fused=True)
    )
    # Memory that torch does not initialise holds NaN.
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("fused")
def test_an_overflow_in_the_first_step_changes_nothing_under_fp16():
    one = learner(optim__clip_norm=0)
    one.scaler = torch.amp.GradScaler("cpu", init_scale=3e38)
    for head in one.model.heads.values():
        head.weight.data.mul_(1000)
    first = copy.deepcopy(list(one.model.parameters()))
    assert not math.isfinite(one.step(batch(0), 0).grad_norm.item())
    assert all(map(torch.equal, one.model.parameters(), first))
    assert not any(state["momentum_buffer"].any() for state in one.optimizer.state.values())
    one.scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    one.step(batch(1), 1)
    assert all(parameter.isfinite().all() for parameter in one.model.parameters())


@pytest.mark.usefixtures("fused")
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_backbone_is_unfrozen_with_fused_kernels(optimizer):
    one = learner(train__freeze_epochs=1, optim__name=optimizer)
    first = one.model.conv1.weight.detach().clone()
    for step in range(EPOCH):
        one.step(batch(step), step)
    assert torch.equal(one.model.conv1.weight, first)
    saved = copy.deepcopy(one.state_dict())
    states = saved["optimizer"]["state"]
    # Checkpoints of earlier versions hold no state of what is frozen.
    saved["optimizer"]["state"] = {
        number: state for number, state in states.items() if any(map(torch.any, state.values()))
    }
    assert len(saved["optimizer"]["state"]) == 2 * len(CLASSES)
    restored = learner(train__freeze_epochs=1, optim__name=optimizer)
    restored.load_state_dict(saved)
    for each in (one, restored):
        each.step(batch(EPOCH), EPOCH)
        assert not torch.equal(each.model.conv1.weight, first)
    assert torch.equal(one.model.conv1.weight, restored.model.conv1.weight)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("fused_before", [False, True])
def test_a_checkpoint_of_another_device_goes_on_with_the_kernels_of_this_one(optimizer, fused_before, monkeypatch):
    def made(fused):
        monkeypatch.setattr(
            learner_module, "make_optimizer", lambda named, config, **_: make_optimizer(named, config, fused)
        )
        one = learner(optim__name=optimizer)
        one.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        return one

    before, after = made(fused_before), made(not fused_before)
    before.step(batch(0), 0)
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    assert {(group["fused"], group["foreach"]) for group in after.optimizer.param_groups} == {
        (not fused_before, fused_before)
    }
    for one in (before, after):
        one.step(batch(1), 1)
    torch.testing.assert_close(after.model.conv1.weight, before.model.conv1.weight)


@pytest.fixture
def compiled_eagerly(monkeypatch):
    """`torch.compile` without code generation, which takes long and rounds otherwise."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    yield
    torch.compiler.reset()


@pytest.mark.usefixtures("compiled_eagerly")
def test_a_compiled_network_learns_the_same_with_few_graphs():
    changes = {"train__freeze_epochs": 1, "augment__mixup": 0.5, "augment__cutmix": 0.5}
    plain, compiled = learner(**changes), learner(**changes, train__compile=True)
    counters.clear()
    for step in range(10):
        given = batch(step)
        pixels = given.images.repeat(1, 1 + step // 4, 1 + step // 4, 1)  # of growing size
        losses = [one.step(Batch(pixels, given.labels), step).loss.item() for one in (plain, compiled)]
        assert losses[0] == losses[1]
    with torch.inference_mode():
        for n in (16, 5):
            logits = [forward(one.evaluator.eval(), given.images[:n], "fp32")["style"] for one in (plain, compiled)]
            assert torch.equal(*logits)
    # Frozen, then two sizes and any size; evaluation with a last batch that is smaller. dynamo gives up after 8.
    assert 1 < counters["stats"]["unique_graphs"] <= 6


SHARED = [
    {},
    {"train__freeze_epochs": 1},
    {"train__freeze_epochs": 1, "train__accumulate": 2},
    {"train__freeze_epochs": 1, "train__compile": True},
]


def _as_one_of_two(rank, folder):
    """Learn from a rank's share of the batches, once for each of `SHARED`."""
    learner_module.build_model = runs.build_small
    torch.compile = functools.partial(torch.compile, backend="eager")
    with process_group() as ranks:
        torch.save([_four_steps(ranks, changes) for changes in SHARED], folder / f"{rank}.pt")


def _four_steps(ranks, changes):
    one, rank = learner(ranks, fixed_norms=True, **changes), ranks.rank
    if rank:
        torch.nn.init.zeros_(one.model.conv1.weight)  # the first rank's weights count
    one.share_gradients()
    losses = []
    for step in range(4):
        both = batch(step)
        half = slice(8 * rank, 8 * rank + 8)
        report = one.step(Batch(both.images[half], both.labels[half]), step)
        losses.append(ranks.sum(report.loss).item())
    return losses, report.grad_norm, one.model.state_dict(), one.average.model.state_dict()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """The states of two ranks after training, for each of `SHARED`."""
    folder = tmp_path_factory.mktemp("ranks")
    two = runs.Ranks(2, folder / "log", _as_one_of_two, folder)
    assert two.wait() == [0, 0], two.output()
    return list(zip(*(torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)), strict=True))


@pytest.mark.parametrize("case", range(len(SHARED)))
def test_two_ranks_learn_the_same_as_one(two_ranks, case):
    two, changes = two_ranks[case], {**SHARED[case], "train__compile": False}
    one = learner(fixed_norms=True, **changes)
    reports = [one.step(batch(step), step) for step in range(4)]
    assert two[0][0] == two[1][0] == pytest.approx([report.loss.item() for report in reports], rel=1e-4)
    assert two[0][1].item() == pytest.approx(reports[-1].grad_norm.item(), rel=1e-3)
    for place, expected in ((2, one.model), (3, one.average.model)):
        for name, value in expected.state_dict().items():
            assert torch.equal(two[0][place][name], two[1][place][name])
            torch.testing.assert_close(two[0][place][name], value, rtol=1e-3, atol=1e-5)
