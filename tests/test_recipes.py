"""artnet/training: how weights are updated, and where they come from."""

import copy
import io
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torchvision
from torch import nn

from artnet.config import build, unflatten
from artnet.data.loader import Batch
from artnet.distributed import Ranks
from artnet.models import build_model
from artnet.models.pretrained import load_run
from artnet.rundir import RunDir
from artnet.sections import OptimConfig
from artnet.training.ema import WeightAverage
from artnet.training.learner import Learner
from artnet.training.losses import Objective
from artnet.training.optim import clip_gradients, make_optimizer, set_learning_rate
from artnet.training.schedule import learning_rate, warmup_steps
from artnet.training.trainer import Trainer
from shards.errors import UserError
from shards.index import read_index
from tests.conftest import TINY, build_lively, python

CLASSES = {"artist": 4, "style": 3}
ALONE = Ranks(0, 1, 1, torch.device("cpu"))
EPOCH = 2  # steps in an epoch of `learner`'s runs

pytestmark = pytest.mark.usefixtures("one_thread")


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
    """What a rank's batch may be: some paintings lack labels, and whole parts of it."""
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


def torchs(schedule, steps, warmup):
    """The rates of torch's own scheduler after a linear warm-up, or for one-cycle with it."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    rest = steps - warmup
    make = {
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, rest),
        "linear": lambda: torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, rest),
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, 1),
        "one_cycle": lambda: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.2, total_steps=steps, pct_start=warmup / steps, cycle_momentum=False
        ),
    }
    scheduler, rates = make[schedule](), []
    for _ in range(steps if schedule == "one_cycle" else rest):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates if schedule == "one_cycle" else [0.2 * (step + 1) / (warmup + 1) for step in range(warmup)] + rates


@pytest.mark.parametrize("warmup", [0, 2, 30])
@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "one_cycle"])
def test_rates_are_those_of_torchs_schedulers(schedule, warmup):
    config = OptimConfig(lr=0.1, schedule=schedule, warmup=warmup, warmup_unit="steps")
    rates = [learning_rate(step, 100, 10, 512, config) for step in range(100)]
    assert rates == pytest.approx(torchs(schedule, 100, warmup), rel=1e-9, abs=1e-12)


def test_a_warm_up_means_the_same_in_any_unit_and_is_shorter_than_the_run():
    for share in (0.05, 0.29, 0.57):
        units = {"share": share, "epochs": share * 10, "steps": share * 100}
        found = {warmup_steps(100, 10, OptimConfig(warmup=w, warmup_unit=unit)) for unit, w in units.items()}
        assert found == {round(100 * share)}
    assert warmup_steps(3, 3, OptimConfig(warmup=0.99)) == 2
    with pytest.raises(UserError, match=r"^optim\.warmup 10 epochs is 100 steps, and the run has 100; "):
        warmup_steps(100, 10, OptimConfig(warmup=10, warmup_unit="epochs"))


def test_the_paper_recipe_is_what_the_paper_says():
    config = build({"task": "style", "recipe": "paper"})
    model = build_model(**config.model.model_dump(), classes=CLASSES)
    optimizer = make_optimizer(model.named_parameters(), config.optim)
    assert type(optimizer) is torch.optim.SGD
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    assert {(group["momentum"], group["weight_decay"], group["nesterov"]) for group in optimizer.param_groups} == {
        (0.9, 1e-4, False)
    }
    steps = 120 * 7
    assert (config.train.epochs, config.train.batch_size, config.train.precision) == (120, 256, "fp32")
    rates = [learning_rate(step, steps, 7, 256, config.optim) for step in range(steps)]
    assert rates == pytest.approx([0.1] * 210 + [0.01] * 210 + [0.001] * 210 + [0.0001] * 210)
    assert (config.augment.policy, config.augment.crop_scale, config.augment.flip) == ("none", 0.08, 0.5)
    off = (config.augment.erasing, config.augment.mixup, config.augment.cutmix, config.loss.label_smoothing)
    assert {*off, config.optim.clip_norm, config.optim.ema_half_life, config.eval.flip} == {0}


def test_adamw_moves_a_weight_by_its_formula_and_the_backbone_by_its_share():
    model = nn.ModuleDict({"conv1": nn.Linear(2, 2), "heads": nn.ModuleDict({"style": nn.Linear(2, 2)})})
    optimizer = make_optimizer(
        model.named_parameters(), OptimConfig(name="adamw", weight_decay=0.1, backbone_lr=0.25, momentum=0.8)
    )
    assert type(optimizer) is torch.optim.AdamW
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.999)}
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    set_learning_rate(optimizer, 0.01)
    optimizer.step()
    for name, parameter in model.named_parameters():
        lr = 0.01 if name.startswith("heads.") else 0.0025
        decay = 0.1 if parameter.ndim > 1 else 0  # in its first step Adam moves every weight by lr
        torch.testing.assert_close(parameter.detach(), before[name] * (1 - lr * decay) - lr)


def test_a_long_gradient_is_shortened_and_its_length_before_is_told():
    weights = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    optimizer = make_optimizer(zip("ab", weights, strict=True), OptimConfig())
    for longest, left in ((0, 13), (20, 13), (6.5, 6.5)):
        weights[0].grad, weights[1].grad = torch.tensor([3.0, 4.0]), torch.tensor([12.0])
        assert clip_gradients(optimizer, longest).item() == pytest.approx(13)
        assert torch.cat([weight.grad for weight in weights]).norm().item() == pytest.approx(left, rel=1e-5)


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


def test_a_step_learns_at_the_rate_of_its_schedule():
    one = learner(optim__schedule="linear", optim__warmup=0, optim__backbone_lr=0.5)
    assert one.step(batch(3), 3).lr == pytest.approx(0.1 * 16 / 256 * (1 - 3 / 10))
    rates = {group["lr"] for group in one.optimizer.param_groups}
    assert sorted(rates) == pytest.approx([0.0021875, 0.004375])


def test_the_average_forgets_half_in_its_half_life_and_follows_a_short_run_closely():
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, half_life=20)
    expected = 0.0
    for step in range(400):
        value = float(np.sin(step))
        for tensor in (model.weight.data, model.running_mean):
            tensor.fill_(value)
        model.num_batches_tracked.fill_(step)
        share = min(0.5 ** (1 / 20), (1 + step) / (10 + step)) if step else 0
        expected = share * expected + (1 - share) * value
        average.update()
        assert average.model.weight.item() == pytest.approx(expected, abs=1e-5)
        assert average.model.running_mean.item() == pytest.approx(expected, abs=1e-5)
        assert average.model.num_batches_tracked == step
    before = average.model.weight.item()
    model.weight.data.fill_(before + 1)
    for _ in range(20):
        average.update()
    assert average.model.weight.item() == pytest.approx(before + 0.5, abs=1e-4)
    assert not average.model.weight.requires_grad


def test_what_is_evaluated_is_the_average_if_there_is_one():
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


EVERYTHING = {
    "optim__name": "adamw",
    "optim__schedule": "one_cycle",
    "optim__backbone_lr": 0.3,
    "model__drop_path": 0.5,
    "augment__mixup": 0.5,
    "train__accumulate": 2,
    "train__freeze_epochs": 1,
}


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_learner_restored_at_any_step_goes_on_bit_for_bit(stop):
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
    assert len(expected) == len(found) > 300
    assert all(map(torch.equal, expected, found))


def test_a_batch_in_parts_gives_the_same_gradient():
    whole, parts = (learner(train__accumulate=k, augment__mixup=1, fixed_norms=True) for k in (1, 4))
    reports = [one.step(batch(0), 0) for one in (whole, parts)]
    assert reports[0].loss.item() == pytest.approx(reports[1].loss.item(), rel=1e-5)
    assert reports[0].grad_norm.item() == pytest.approx(reports[1].grad_norm.item(), rel=1e-4)
    for one, other in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_only_the_heads_learn_until_the_backbone_is_thawed():
    one = learner(train__freeze_epochs=1)
    first = copy.deepcopy(one.model.state_dict())

    def changed():
        return {name for name, value in one.model.state_dict().items() if not torch.equal(value, first[name])}

    for step in range(EPOCH):
        one.step(batch(step), step)
    assert changed() == {f"heads.{task}.{part}" for task in CLASSES for part in ("weight", "bias")}
    one.step(batch(EPOCH), EPOCH)
    assert {"conv1.weight", "layer1.0.bn1.weight", "bn1.running_mean", "bn1.num_batches_tracked"} <= changed()


def test_under_fp16_overflowing_steps_are_skipped_and_the_scale_is_kept():
    """GPUs alone compute in fp16; the scaler is torch's own for CPUs."""
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


def test_stochastic_depth_skips_the_later_blocks_more_often_and_in_training_only():
    model = build_lively(backbone="resnet18", recurrence="none", attention="none", classes=CLASSES, drop_path=0.8)
    drops = [block.drop_path.p for stage in (model.layer1, model.layer2, model.layer3, model.layer4) for block in stage]
    assert drops == pytest.approx([0.1 * place for place in range(1, 9)])
    block = model.layer4[1]
    x = torch.rand(400, 512, 2, 2)
    kept = block(x) != x
    skipped = 1 - kept.flatten(1).any(1).float().mean().item()
    assert skipped == pytest.approx(0.8, abs=0.06)
    twin = copy.deepcopy(model)
    twin.set_drop_path(0)
    images = torch.randn(2, 3, 33, 33)
    for task, logits in model.eval()(images).items():
        assert torch.equal(logits, twin.eval()(images)[task])


SHARED = [{}, {"train__freeze_epochs": 1}, {"train__freeze_epochs": 1, "train__accumulate": 2}]


def _as_one_of_two(rank, folder):
    """Learn from a rank's share of the batches, once for each of `SHARED`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    torch.save([_four_steps(rank, changes) for changes in SHARED], folder / f"{rank}.pt")
    dist.destroy_process_group()


def _four_steps(rank, changes):
    one = learner(Ranks(rank, 2, 2, torch.device("cpu")), fixed_norms=True, **changes)
    if rank:
        torch.nn.init.zeros_(one.model.conv1.weight)  # the first rank's weights count
    one.share_gradients()
    losses = []
    for step in range(4):
        both = batch(step)
        half = slice(8 * rank, 8 * rank + 8)
        report = one.step(Batch(both.images[half], both.labels[half]), step)
        losses.append(dist.all_reduce(report.loss) or report.loss.item())
    return losses, report.grad_norm, one.model.state_dict(), one.average.model.state_dict()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """What each of two ranks learnt, for each of `SHARED`."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(_as_one_of_two, (folder,), nprocs=2)
    return list(zip(*(torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)), strict=True))


@pytest.mark.parametrize("case", range(len(SHARED)))
def test_two_ranks_learn_what_one_would(two_ranks, case):
    two, changes = two_ranks[case], SHARED[case]
    one = learner(fixed_norms=True, **changes)
    reports = [one.step(batch(step), step) for step in range(4)]
    assert two[0][0] == two[1][0] == pytest.approx([report.loss.item() for report in reports], rel=1e-4)
    assert two[0][1].item() == pytest.approx(reports[-1].grad_norm.item(), rel=1e-3)
    for place, expected in ((2, one.model), (3, one.average.model)):
        for name, value in expected.state_dict().items():
            assert torch.equal(two[0][place][name], two[1][place][name])
            torch.testing.assert_close(two[0][place][name], value, rtol=1e-3, atol=1e-5)


def network(**names):
    """A network with lively statistics, in evaluation."""
    model = build_lively(**{"backbone": "resnet18", "recurrence": "none", "attention": "none", **names}).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
    return model


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run's checkpoints, and its network."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    model = network(classes={"style": 3, "genre": 5})
    torch.save({"version": 3, "model": model.state_dict()}, folder / "checkpoints" / "best.pt")
    torch.save({"learner": {"model": model.state_dict(), "optimizer": {}}}, folder / "checkpoints" / "last.pt")
    return folder, model


@pytest.mark.parametrize("file", ["", "checkpoints/best.pt", "checkpoints/last.pt"])
@pytest.mark.parametrize(("recurrence", "attention"), [("none", "none"), ("lstm", "se"), ("rla", "cbam")])
def test_a_run_starts_from_another_with_the_logits_of_that(source, file, recurrence, attention):
    folder, theirs = source
    ours = network(classes={"artist": 7, "style": 3, "genre": 6}, recurrence=recurrence, attention=attention)
    fresh = {task: ours.heads[task].weight.detach().clone() for task in ("artist", "genre")}
    assert load_run(ours, folder / file).endswith("; afresh: the heads for artist, genre")
    images = torch.randn(2, 3, 65, 65)
    torch.testing.assert_close(ours(images)["style"], theirs(images)["style"], rtol=1e-4, atol=1e-4)
    assert all(torch.equal(ours.heads[task].weight, weight) for task, weight in fresh.items())


def test_a_run_starts_from_torchvisions_file_too(tmp_path):
    theirs = torchvision.models.resnet18(num_classes=3).eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    ours = network(classes={"style": 3})
    assert "afresh" not in load_run(ours, tmp_path / "resnet18.pth")
    images = torch.randn(2, 3, 33, 33)
    torch.testing.assert_close(ours(images)["style"], theirs(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("part", "kind"), [("recurrence", "lstm"), ("attention", "eca")])
def test_parts_of_the_source_that_the_network_lacks_are_told(tmp_path, part, kind):
    torch.save({"model": network(classes={"style": 3}, **{part: kind}).state_dict()}, tmp_path / "best.pt")
    with pytest.raises(UserError, match=rf"^init_from: \S+ has {part}, which this network lacks; set model\.{part}"):
        load_run(network(classes={"style": 3}), tmp_path / "best.pt")


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint",
        b"\x80\x02" + b"(" * 50,
        Hostile(),
        [],
        {"model": 3},
        {"model": {}},
        {"learner": {"model": None}},
        {"model": {1: torch.zeros(1)}},
        {"model": {"conv1.weight": torch.zeros(64, 3, 7, 7).to_sparse()}},
        {"model": {"conv1.weight": torch.zeros(64, 3, 7, 7, device="meta")}},
        {"model": {"heads.style.weight": torch.tensor(1.0), "heads.style.bias": torch.tensor(1.0)}},
        {"model": {"conv1.weight": torch.zeros(64, 1, 7, 7)}},
    ],
)
def test_what_is_no_checkpoint_of_a_run_is_told_in_one_sentence(tmp_path, capsys, content):
    file = tmp_path / "best.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(UserError, match=r"^init_from: \S+ [^\n]+$"):
        load_run(network(classes={"style": 3}, recurrence="lstm"), file)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("changes", "ranks", "said"),
    [
        ({"optim.warmup": 99, "optim.warmup_unit": "epochs"}, ALONE, "optim.warmup 99 epochs"),
        ({"train.accumulate": 8}, Ranks(0, 4, 4, torch.device("cpu")), "make it a multiple of 32"),
        ({"init_from": "/nowhere/run"}, ALONE, "init_from: /nowhere/run"),
    ],
)
def test_what_cannot_be_trained_is_planned_but_refused_at_the_start(shards, tmp_path, changes, ranks, said):
    config = build(unflatten({**TINY, **changes})).with_shards(str(shards))
    with pytest.raises(UserError, match=said):
        Trainer(config, read_index(shards), RunDir(tmp_path / "run"), ranks, None, config.train.accumulate)


def test_a_run_with_everything_on_starts_from_a_run_and_tells_its_gradients(run_yaml, tmp_path, shards):
    index = read_index(shards)
    (tmp_path / "first" / "checkpoints").mkdir(parents=True)
    model = network(classes={"style": len(index.classes["style"])})
    torch.save({"model": model.state_dict()}, tmp_path / "first" / "checkpoints" / "best.pt")
    changes = {**EVERYTHING, "train__epochs": 2, "train__log_every": 1000, "init_from": str(tmp_path / "first")}
    config = run_yaml(task=["artist", "style"], **changes)
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    ended = python(*torchrun, "-m", "artnet.train", "--config", config, "--run-dir", tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    assert f"started from {tmp_path / 'first'}/checkpoints/best.pt; afresh: the head for artist" in ended.stderr
    run = RunDir(tmp_path / "run")
    steps = [line for line in run.metrics() if line["kind"] == "step"]
    assert steps[0]["step"] == 1
    assert all(line["grad_norm"] > 0 for line in steps)
    assert run.run()["attempts"][0]["precision"] == "fp32"
    last = torch.load(run.checkpoints / "last.pt", weights_only=True)["learner"]
    best = torch.load(run.checkpoints / "best.pt", weights_only=True)
    if best["progress"]["best_epoch"] == 2:
        assert torch.equal(best["model"]["conv1.weight"], last["average"]["model"]["conv1.weight"])
    assert not any("module." in name or "_orig_mod" in name for name in best["model"])
