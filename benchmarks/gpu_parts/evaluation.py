"""Parts 12 and 13: graphs of a compiled network whose images grow; evaluation in bf16, and the time of a snapshot."""

import functools
import time
from collections.abc import Callable
from unittest import mock

import torch
from torch._dynamo.utils import counters

from artnet.inference.forward import PixelNetwork, forward
from artnet.training.checkpoints import snapshot

from .report import CheckError, Record
from .setting import Setting, batches, is_finite, learner, synchronize

EPOCHS = 20
START, END = 128, 224  # pixels
MOST_GRAPHS = 3
REPEATS = 5


def progressive_sizes(setting: Setting, record: Record) -> None:
    """A compiled network whose crops grow with the epochs is compiled for the first size, then for all sizes.

    Graphs are counted without generating code for them; then the time to compile for the first two sizes is measured.
    """
    from artnet.data.epoch import train_size

    sizes = sorted({train_size(epoch, EPOCHS, START, END) for epoch in range(EPOCHS)})
    with mock.patch.object(torch, "compile", functools.partial(torch.compile, backend="eager")):
        grow(setting, sizes)
    graphs = counters["stats"]["unique_graphs"]
    record.figure("sizes", len(sizes))
    record.figure("graphs", graphs, bar=f"<= {MOST_GRAPHS}")
    record.check(0 < graphs <= MOST_GRAPHS, f"{graphs} graphs were compiled for {len(sizes)} sizes")
    if setting.rehearse:
        return
    torch.compiler.reset()
    for size, seconds in grow(setting, sizes[:2]):
        record.figure(f"first step with size {size}", seconds, "s")


def grow(setting: Setting, sizes: list[int]) -> list[tuple[int, float]]:
    """Train one step with each size, and return the sizes with the seconds of their steps."""
    config = setting.config(END, 2 if setting.rehearse else 32, train__compile=True, model__backbone="resnet18",
                            model__recurrence="lstm", model__attention="se")  # fmt: skip
    trained, found = learner(config, setting.device), []
    for step, size in enumerate(sizes):
        resized = config.model_copy(update={"data": config.data.model_copy(update={"size": size})})
        started = time.perf_counter()
        trained.step(batches(resized, 1, setting.device)[0], step)
        synchronize()
        found.append((size, time.perf_counter() - started))
    if not is_finite(trained.model):
        raise CheckError("weights are not finite")
    return found


def precision_and_snapshot(setting: Setting, record: Record) -> None:
    """Evaluation in bf16 beside float32: images/s and the difference of the logits. The time of a snapshot."""
    n, size = (4, 33) if setting.rehearse else (256, 256)
    config = setting.config(size, n, model__recurrence="lstm", model__attention="se")
    given = batches(config, 2, setting.device)
    trained = learner(config, setting.device)
    for step, batch in enumerate(given):  # the average and the statistics of norms are no longer initial
        trained.step(batch, step)
    network = PixelNetwork(trained.for_evaluation()).eval()
    images = given[0].images
    logits, rates = {}, {}
    with torch.inference_mode():
        for precision in ("fp32", "bf16"):
            run = functools.partial(forward, network, images, precision)
            logits[precision] = run()["style"].float()
            rates[precision] = n / median_seconds(run)
            record.figure(f"evaluation in {precision}", rates[precision], "images/s")
    difference = float((logits["bf16"] - logits["fp32"]).norm() / logits["fp32"].norm())
    agreement = float((logits["bf16"].argmax(1) == logits["fp32"].argmax(1)).float().mean())
    record.figure("bf16 over fp32", rates["bf16"] / rates["fp32"])
    record.figure("relative difference of the logits", difference)
    record.figure("images with the same prediction", 100 * agreement, "%")
    record.check(difference < 0.1, f"the logits in bf16 differ by {difference:.2g}")
    state = trained.state_dict()
    record.figure("snapshot of a learner", 1e3 * median_seconds(lambda: snapshot(state)), "ms")
    copied = snapshot(state)
    record.figure("its size", size_of(copied) / 2**20, "MiB")


def median_seconds(work: Callable[[], object]) -> float:
    """The median time of `REPEATS` calls, after one that is not counted."""
    work()
    found = []
    for _ in range(REPEATS):
        synchronize()
        started = time.perf_counter()
        work()
        synchronize()
        found.append(time.perf_counter() - started)
    return sorted(found)[REPEATS // 2]


def size_of(value: object) -> int:
    """The bytes of all tensors in nested dicts and lists."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, list | tuple) else 0
