"""Parts 5 and 15: checkpoints that move between devices, and a resume that is exact."""

import itertools
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from artnet import checkpoint
from artnet.config import RunConfig
from artnet.data.batch import Batch
from artnet.training.checkpoints import snapshot
from artnet.training.learner import Learner

from .report import Record
from .setting import Setting, batches, deterministic, is_finite, learner, no_search, to, weights

CPU = torch.device("cpu")


def between_devices(setting: Setting, record: Record) -> None:
    """A checkpoint continues on the same and on the other device, under fp16 too, with that device's kernels."""
    routes = {"GPU to GPU": (setting.device, setting.device), "CPU to GPU": (CPU, setting.device),
              "GPU to CPU": (setting.device, CPU)}  # fmt: skip
    wrong = []
    optimizers = ("sgd", "adamw")
    for (route, (source, target)), precision, name in itertools.product(routes.items(), ("bf16", "fp16"), optimizers):
        if name == "adamw" and route != "CPU to GPU":
            continue
        config = setting.config(
            64, 4, train__precision=precision, optim__name=name, model__recurrence="lstm", model__attention="se",
            model__backbone="resnet18",
        )  # fmt: skip
        started = time.perf_counter()
        try:
            if complaint := _moved(setting, config, source, target):
                wrong.append(f"{route} in {precision} with {name}: {complaint}")
        except (RuntimeError, KeyError, AssertionError, ValueError) as error:
            wrong.append(f"{route} in {precision} with {name}: {str(error).splitlines()[:1]}")
        record.figure(f"{route} in {precision} with {name}", time.perf_counter() - started, "s")
    record.figure("routes that are wrong", len(wrong))
    record.check(not wrong, "; ".join(wrong))


def _moved(setting: Setting, config: RunConfig, source: torch.device, target: torch.device) -> str:
    """What is wrong with a run that is moved after two steps; empty if nothing is."""
    given = batches(config, 4, CPU)
    first = learner(config, source)
    no_search()
    _train(first, given[:2], 0, source)
    second = learner(config, target)
    no_search()
    _load(second, _saved(first, setting.folder / "moved.pt", target))
    before = weights(second.model)
    if any(not torch.equal(value, before[name]) for name, value in weights(first.model).items()):
        return "other weights than those that were saved"
    wants_fused = target.type == "cuda"
    _train(second, given[2:], 2, target)
    if any(bool(group.get("fused")) != wants_fused for group in second.optimizer.param_groups):
        return f"the fused optimizer is {'off' if wants_fused else 'on'}"
    if any(bool(group.get("foreach")) == wants_fused for group in second.optimizer.param_groups):
        return f"the foreach optimizer is {'on' if wants_fused else 'off'}"
    if not is_finite(second.model):
        return "weights are not finite after the next steps"
    return "" if _differs(weights(second.model), before) else "the next steps changed nothing"


def _train(trained: Learner, given: list[Batch], first_step: int, device: torch.device) -> None:
    for step, batch in enumerate(given, first_step):
        trained.step(to(batch, device), step)


def _saved(trained: Learner, file: Path, device: torch.device) -> dict[str, Any]:
    """A learner's state, written as a run does it, and read to a device."""
    checkpoint.save(file, {"learner": snapshot(trained.state_dict())})
    state: dict[str, Any] = checkpoint.load(file, device)["learner"]
    return state


def _load(trained: Learner, state: dict[str, Any]) -> None:
    """As a run resumes: DDP and compiled networks are made once the weights are loaded."""
    trained.load_state_dict(state)
    trained.share_gradients()


def _differs(some: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, value in some.items() if not torch.equal(value, others[name])]


def exact_resume(setting: Setting, record: Record) -> None:
    """With deterministic kernels, a resumed run has the weights of an uninterrupted one, bit for bit."""
    deterministic()
    config = setting.config(96, 2 if setting.rehearse else 16, model__recurrence="lstm", model__attention="se")
    given = batches(config, 6, CPU)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        whole, again = (learner(config, setting.device) for _ in range(2))
        no_search()
        _train(whole, given, 0, setting.device)
        _train(again, given[:3], 0, setting.device)
        resumed = learner(config, setting.device)
        no_search()
        _load(resumed, _saved(again, setting.folder / "resumed.pt", setting.device))
        _train(resumed, given[3:], 3, setting.device)
    random = {str(found.message).split()[0] for found in caught if "deterministic implementation" in str(found.message)}
    record.figure("operations without a deterministic kernel", " ".join(sorted(random)) or "none")
    for name, model in (("weights", "model"), ("average", "average")):
        one, other = (getattr(part, model) for part in (whole, resumed))
        expected, found = (weights(part if isinstance(part, torch.nn.Module) else part.model) for part in (one, other))
        different = _differs(expected, found)
        record.figure(f"{name} that differ after the resume", len(different))
        record.check(not different, f"{len(different)} tensors of the {name} differ, such as {different[:1]}")
