"""Part 7: how many kernels a step launches, and how many launches the GPU's queue holds."""

import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

from .report import Record
from .setting import Setting, batches, learner, synchronize

NETWORKS = ("none+none", "none+se", "lstm+none", "lstm+se", "gru+cbam")
ASLEEP = 2_000_000_000  # cycles, about a second
BLOCKED_S = 0.05  # a launch takes microseconds, unless the queue is full
MOST = 50_000  # launches


def per_step(setting: Setting, record: Record) -> None:
    """The launches of a step for five networks, and the number that the queue holds before a launch blocks.

    A rank that waits in a collective for a lost one goes on until the queue is full: a step with more launches than
    that does not reach the check for lost ranks at its end.
    """
    kept = [launches(setting, name, record) for name in (NETWORKS[-1:] if setting.rehearse else NETWORKS)]
    vector = torch.zeros(1, device=setting.device)
    for _ in range(10):  # the kernel is loaded
        vector.add_(1)
    synchronize()
    if not setting.rehearse:
        torch.cuda._sleep(ASLEEP)
    held = until_blocked(lambda: vector.add_(1), 100 if setting.rehearse else MOST)
    synchronize()
    setting.needs_gpu()
    record.check(held < MOST, f"no launch blocked within {MOST:,}")
    record.figure("launches that the queue holds", held)
    record.figure("networks with more in a step", sum(number > held for number in kept))


def launches(setting: Setting, name: str, record: Record) -> int:
    """The kernels that a step launches, after a warm-up; on a CPU, the operations."""
    recurrence, attention = name.split("+")
    config = setting.config(64, 4, model__recurrence=recurrence, model__attention=attention)
    trained = learner(config, setting.device)
    given = batches(config, 4, setting.device)
    for step, batch in enumerate(given[:3]):
        trained.step(batch, step)
    synchronize()
    word, activities = "LaunchKernel", [ProfilerActivity.CPU, ProfilerActivity.CUDA]
    if setting.rehearse:
        word, activities = "aten::", [ProfilerActivity.CPU]
    with profile(activities=activities) as profiled:
        trained.step(given[3], 3)
        synchronize()
    # cudaLaunchKernel, cudaLaunchKernelExC, and cuLaunchKernel of Triton
    number = sum(event.count for event in profiled.key_averages() if word in event.key)
    record.figure(f"launches of a step, {setting.backbone} {name}", number)
    record.check(number > 100, f"the profiler saw {number} launches in a step of {name}")
    return number


def until_blocked(launch: Callable[[], object], most: int) -> int:
    """How many launches return before one takes longer than `BLOCKED_S`; `most` if none does."""
    for number in range(most):
        started = time.perf_counter()
        launch()
        if time.perf_counter() - started > BLOCKED_S:
            return number
    return most
