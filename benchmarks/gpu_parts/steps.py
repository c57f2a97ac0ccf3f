"""Parts 2, 3, 4 and 6: training steps on the device."""

import contextlib
import itertools
import math
from collections.abc import Iterator

import torch
from torch import nn

from artnet.config.attentions import ATTENTIONS
from artnet.inference.forward import on_device
from artnet.models.build import RECURRENCES
from artnet.training.learner import Learner

from .report import Record
from .setting import Setting, batches, deterministic, is_finite, learner, no_search, to, weights

SMALL_SCALE = 2.0**8  # of the loss: no gradient of a new network overflows


def all_networks(setting: Setting, record: Record) -> None:
    """Three steps of every network in bf16 and fp16: finite, and the same with batches copied ahead as without."""
    deterministic()
    networks = list(itertools.product(RECURRENCES, ATTENTIONS))
    if setting.rehearse:
        networks = [("gru", "cbam")]
    wrong = []
    for (recurrence, attention), precision in itertools.product(networks, ("bf16", "fp16")):
        name = f"{recurrence}+{attention} in {precision}"
        changes = {"model__recurrence": recurrence, "model__attention": attention, "train__precision": precision}
        config = setting.config(64, 2 if setting.rehearse else 16, **changes)
        given = batches(config, 3, torch.device("cpu"), pinned=True)
        losses = []
        for copied in (on_device(iter(given), setting.device), (to(batch, setting.device) for batch in given)):
            trained = learner(config, setting.device)
            no_search()
            try:
                found = [trained.step(batch, step).loss for step, batch in enumerate(copied)]
                losses.append([float(loss) for loss in found])  # not before: it waits for the device
            except RuntimeError as error:  # the other networks are tried too
                wrong.append(f"{name}: {str(error).splitlines()[0]}")
                break
            if not is_finite(trained.model) or not all(map(math.isfinite, losses[-1])):
                wrong.append(f"{name}: losses {losses[-1]} or weights are not finite")
        # The first loss is that of one forward pass. Later ones may differ where a kernel is not deterministic.
        if len(losses) == 2 and (losses[0][0] != losses[1][0] or not _near(losses[0], losses[1])):
            wrong.append(f"{name}: losses {losses[0]} with the copy stream, {losses[1]} without")
    record.figure("networks and precisions", 2 * len(networks))
    record.figure("that are wrong", len(wrong))
    record.check(not wrong, "; ".join(wrong))


def _near(some: list[float], others: list[float]) -> bool:
    return all(math.isclose(one, other, rel_tol=1e-2) for one, other in zip(some, others, strict=True))


def overflow(setting: Setting, record: Record) -> None:
    """A gradient that overflows in step 1, under fp16 and SGD, changes neither weights nor momentum."""
    config = setting.config(64, 4, train__precision="fp16", optim__warmup=0.0)
    trained = learner(config, setting.device)
    batch = batches(config, 1, setting.device)[0]
    if not trained.scaler.is_enabled():  # in a rehearsal
        trained.scaler = torch.amp.GradScaler(setting.device.type)
    before = {name: value.detach().clone() for name, value in trained.model.named_parameters()}
    hook = next(iter(trained.model.parameters())).register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    trained.step(batch, 0)
    hook.remove()
    record.check(not math.isfinite(_largest_gradient(trained)), "the gradient did not overflow")
    moved = [name for name, value in trained.model.named_parameters() if not torch.equal(value, before[name])]
    record.check(not moved, f"an overflow in step 1 changed {len(moved)} weights, such as {moved[:1]}")
    _check_momentum(trained, record, 1)
    trained.scaler.load_state_dict({**trained.scaler.state_dict(), "scale": SMALL_SCALE})
    trained.step(batch, 1)
    record.check(is_finite(trained.model), "weights are not finite after the step that follows an overflow")
    moved = [name for name, value in trained.model.named_parameters() if not torch.equal(value, before[name])]
    record.check(len(moved) > 0, "the step that follows an overflow changed no weights")
    _check_momentum(trained, record, 2)
    record.figure("weights that the following step changed", len(moved))


def _largest_gradient(trained: Learner) -> float:
    gradients = [value.grad for value in trained.model.parameters() if value.grad is not None]
    return float(torch.stack([gradient.abs().amax() for gradient in gradients]).amax())


def _check_momentum(trained: Learner, record: Record, step: int) -> None:
    momenta = [state.get("momentum_buffer") for state in trained.optimizer.state.values()]
    largest = [float(momentum.abs().amax()) for momentum in momenta if momentum is not None]
    record.figure(f"largest momentum after step {step}", max(largest, default=0.0))
    record.check(all(value < 1e4 for value in largest), f"the momentum is {max(largest, default=0.0):.2g}")


def freezing_and_accumulation(setting: Setting, record: Record) -> None:
    """The trunk can be frozen and unfrozen under SGD, and a step in 4 parts is the same as in one."""
    config = setting.config(64, 8, train__freeze_epochs=1, optim__warmup=0.0, optim__ema_half_life=0.0)
    trained = learner(config, setting.device, steps_per_epoch=2)
    start = weights(trained.model)
    for step, batch in enumerate(batches(config, 4, setting.device)):
        trained.step(batch, step)
        changed = {name for name, value in weights(trained.model).items() if not torch.equal(value, start[name])}
        trunk = {name for name in changed if not name.startswith("heads.")}
        record.check(changed > trunk, f"step {step} changed no head")
        record.check(bool(trunk) == (step >= 2), f"step {step} changed {len(trunk)} tensors of the trunk")
    record.check(is_finite(trained.model), "weights are not finite after unfreezing")
    whole, parts = (_update(setting, accumulate) for accumulate in (1, 4))
    difference = float((whole - parts).norm() / whole.norm())
    record.figure("relative difference of an update in 4 parts", difference)
    record.check(difference < 1e-3, f"an update in 4 parts differs from one in 1 part by {difference:.2g}")


def _update(setting: Setting, accumulate: int) -> torch.Tensor:
    """The change of all weights in one float32 step, with norms that use fixed statistics."""
    config = setting.config(
        64, 8, train__precision="fp32", train__accumulate=accumulate, optim__warmup=0.0, optim__ema_half_life=0.0
    )
    trained = learner(config, setting.device)
    no_search()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for module in trained.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # The statistics of a part are not those of the batch. A learner sets the mode of all modules.
            module.eval().train = lambda mode=True, module=module: module  # type: ignore[method-assign]
    before = torch.cat([value.detach().flatten().clone() for value in trained.model.parameters()])
    trained.step(batches(config, 1, setting.device)[0], 0)
    return torch.cat([value.detach().flatten() for value in trained.model.parameters()]) - before


def no_synchronisation(setting: Setting, record: Record) -> None:
    """After a warm-up, a step never waits for the GPU."""
    waiting = []
    cases = {
        "the modern recipe": {},
        "fp16": {"train__precision": "fp16"},
        "AdamW and uncertainty weights": {"optim__name": "adamw", "loss__weighting": "uncertainty"},
        "mixup and CutMix": {"augment__mixup": 0.2, "augment__cutmix": 1.0},
        "LSTM and SE, 2 parts": {"model__recurrence": "lstm", "model__attention": "se", "train__accumulate": 2},
        "frozen": {"train__freeze_epochs": 5},
        "float32 without average": {"recipe": "paper"},
    }
    for name, changes in cases.items():
        config = setting.config(64, 4, **changes)
        trained = learner(config, setting.device)
        given = batches(config, 3 if setting.rehearse else 4, torch.device("cpu"), pinned=True)
        for step, batch in enumerate(on_device(iter(given), setting.device)):
            try:
                with errors_if_waiting(setting.device) if step >= 2 else contextlib.nullcontext():
                    trained.step(batch, step)
            except RuntimeError as error:
                waiting.append(f"{name}: {str(error).splitlines()[0]}")
                break
    record.figure("recipes", len(cases))
    record.figure("that wait for the GPU", len(waiting))
    record.check(not waiting, "; ".join(waiting))
    setting.needs_gpu()


@contextlib.contextmanager
def errors_if_waiting(device: torch.device) -> Iterator[None]:
    """A context in which calls that wait for the GPU raise `RuntimeError`."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
