"""Part 11: the speed of training steps, network by network, and of the whole program.

Every network is a process of its own, so that all are compiled at the same time and each has its own graphs. Then they
take turns on the GPU, one at a time, without the memory of the others. As they start together, cuDNN uses its default
kernels for them. In the whole program it searches for the fastest ones, as in every training.
"""

import json
import multiprocessing
import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import torch

from .report import NotMeasuredError, Record
from .setting import Setting

TORCHVISION, BASE, LSTM = "torchvision ResNet-50", "artnet none+none", "artnet lstm+none"
NETWORKS = (TORCHVISION, BASE, "artnet none+se", LSTM, "artnet lstm+se")
PUBLISHED = ("RLANet lstm+none", "RLANet lstm+se")
PROGRAM = "whole program"
BATCH, SIZE, STEPS, WARM_UP = 128, 224, 12, 2  # images, pixels, steps of a turn and before it
ROUNDS = 3
COMPILING_S = 200.0  # for all networks together
COMPILE_THREADS = "4"  # of each network
DECODED = 40  # batches for each number of decoding threads


def training(setting: Setting, record: Record) -> None:
    """Images/s, ms and memory of each network, eager and compiled; then those of the whole program."""
    names = [BASE, LSTM] if setting.rehearse else [*NETWORKS, *(PUBLISHED if setting.reference else ())]
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = COMPILE_THREADS
    workers = {name: Worker(contend, setting, name) for name in names}
    program = Worker(run_program, setting)
    until = time.monotonic() + COMPILING_S
    ready = {name: worker for name, worker in workers.items() if worker.is_ready(until, record, name)}
    record.figure("networks compiled", f"{len(ready)} of {len(workers)}")
    has_program = program.is_ready(until, record, PROGRAM)
    times: dict[tuple[str, str], list[float]] = {}
    memory: dict[tuple[str, str], int] = {}
    for number in range(ROUNDS):
        for name, worker in ready.items():
            for mode, (seconds, used) in worker.turn(record, name).items():
                times.setdefault((name, mode), []).extend(seconds)
                memory[name, mode] = used
        compare(record, times, memory)  # now, as the time may end
        if has_program and not number:
            report_program(record, program.turn(record, PROGRAM))
            program.end()
    for worker in (*workers.values(), program):
        worker.end()
    if program.reason:
        raise NotMeasuredError(f"the whole program: {program.reason}")
    if lost := set(workers) - {name for name, _ in times}:
        raise RuntimeError(f"not measured: {', '.join(sorted(lost))}")
    setting.needs_gpu()


class Worker:
    """A process that gets ready, and then works whenever it is told to."""

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=target, args=(other, *arguments))
        self._process.start()
        other.close()
        self.reason = ""  # why it cannot work here, though it is not wrong

    def is_ready(self, until: float, record: Record, name: str) -> bool:
        """Wait for it, at most until a time of `time.monotonic()`, and say why it is not ready."""
        if not self._pipe.poll(max(0.0, until - time.monotonic())):
            record.figure(f"{name}: not ready", f"after {COMPILING_S:.0f} s")
            self.end()  # it would disturb the others
            return False
        return self._received(record, name) is not None

    def turn(self, record: Record, name: str) -> dict[str, Any]:
        """Let it work once; empty if it has failed."""
        try:
            self._pipe.send("go")
        except OSError:
            return {}
        return self._received(record, name) or {}

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()

    def _received(self, record: Record, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            found = {"failed": "its process has ended"}
        if "failed" in found:
            record.figure(f"{name}: failed", found["failed"])
            self.reason = found.get("missing", "")
            return None
        return found


def guarded(pipe: Connection, turns: Iterator[dict[str, Any]]) -> None:
    """Send what `turns` yields: first that it is ready, then each time it is asked for."""
    try:
        for found in turns:
            pipe.send(found)
            pipe.recv()
    except EOFError:
        pass
    except Exception as error:
        traceback.print_exc()
        missing = f"needs {error.name}" if isinstance(error, ImportError) and error.name else ""
        first = (str(error).splitlines() or [""])[0]
        pipe.send({"failed": f"{type(error).__name__}: {first}", "missing": missing})


def contend(pipe: Connection, setting: Setting, name: str) -> None:
    """The process of a network."""
    guarded(pipe, network_turns(setting, name))


def network_turns(setting: Setting, name: str) -> Iterator[dict[str, Any]]:
    """Compile a network; then, for each turn, the seconds of steps and the memory in bytes, eager and compiled."""
    import torchvision

    from artnet.models.build import build_model
    from benchmarks.models import FORMATS, Contender, reference

    family, network = name.split(" ", 1)
    if family == "RLANet":
        assert setting.reference is not None
        model = reference(setting.reference)[name]
    elif family == "torchvision":
        model = torchvision.models.resnet50()
    else:
        recurrence, attention = network.split("+")
        model = build_model(
            backbone=setting.backbone, recurrence=recurrence, attention=attention, classes={"imagenet": 1000}
        )
    n, size = (2, 33) if setting.rehearse else (BATCH, SIZE)
    images = torch.randn(n, 3, size, size, device=setting.device)
    labels = torch.randint(1000, (n,), device=setting.device)
    backends = {"eager": None, "compiled": "eager" if setting.rehearse else "inductor"}
    if family == "RLANet":  # as it was published
        del backends["compiled"]
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    contenders = {mode: Contender(model, images, labels, backend) for mode, backend in backends.items()}
    for contender in contenders.values():
        contender.use(FORMATS["channels last"])
    contenders["compiled" if "compiled" in contenders else "eager"].run()
    release()
    found: dict[str, Any] = {}
    while True:
        yield found
        for mode, contender in contenders.items():
            for _ in range(WARM_UP):
                contender.run()
            # On a CPU, memory is measured by hooks that a compiled network does not run.
            used = contender.memory() if not setting.rehearse or mode == "eager" else 0
            found[mode] = [contender.run() for _ in range(1 if setting.rehearse else STEPS)], used
        release()


def release() -> None:
    """Leave the memory of the GPU to others."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()


def compare(record: Record, times: dict[tuple[str, str], list[float]], memory: dict[tuple[str, str], int]) -> None:
    """Report the networks, and the ratios that have bars."""
    steps = {key: statistics.median(seconds) for key, seconds in times.items()}
    for (name, mode), seconds in steps.items():
        record.figure(f"{name}, {mode}", BATCH / seconds, "images/s")
        record.figure(f"{name}, {mode}: step", 1e3 * seconds, "ms")
        record.figure(f"{name}, {mode}: memory", memory[name, mode] / 2**20, "MiB")
        if (TORCHVISION, mode) in steps:
            record.figure(f"{name}, {mode}: time over torchvision's", seconds / steps[TORCHVISION, mode])
    if (LSTM, "compiled") in steps:
        own = steps[LSTM, "compiled"]
        if (BASE, "compiled") in steps:
            record.figure("LSTM, compiled: time over ResNet-50", own / steps[BASE, "compiled"], bar="<= 1.35")
        if (PUBLISHED[0], "eager") in steps:
            record.figure("LSTM: speed over the published code", steps[PUBLISHED[0], "eager"] / own, bar=">= 1.5")


def run_program(pipe: Connection, setting: Setting) -> None:
    """The process of the whole program."""
    guarded(pipe, program_turns(pipe, setting))


def program_turns(pipe: Connection, setting: Setting) -> Iterator[dict[str, Any]]:
    """Compile the bare loop and the learner; then measure both, the whole program and the decoding threads."""
    from benchmarks import train

    small = {"model.backbone": "resnet18", "augment.policy": "none"} if setting.rehearse else {}
    train.SIZE, train.BATCH, train.TURN, train.WARM_UP = (33, 8, 5, 1) if setting.rehearse else (224, 256, 60, 10)

    class Bench(train.Bench):
        def config(self, **changes: object) -> Any:
            return super().config(**{**small, "train.log_every": max(1, train.TURN // 5), **changes})

    bench = Bench(setting.shards(), setting.folder / "program")

    def ready() -> None:
        pipe.send({})
        pipe.recv()

    rates = train.throughput(bench, 1 if setting.rehearse else 2, ready)
    waits = (bench.folder / f"run{bench.runs}" / "metrics.jsonl").read_text().splitlines()
    yield {"rates": rates, "waits": waits, "threads": dict(decoding(bench, setting)), "batch": train.BATCH}


def decoding(bench: Any, setting: Setting) -> Iterator[tuple[int, float]]:
    """Images/s that 1 to 16 threads decode, into pinned memory if there is a GPU."""
    import numpy as np

    from artnet.data.dataset import SplitData
    from artnet.data.loader import load
    from shards.reader import Reader

    config = bench.config()
    data = SplitData(config, "train", bench.index, Reader(bench.index))
    plan, n = data.plan(0), 8 if setting.rehearse else 64
    positions = np.arange((3 if setting.rehearse else DECODED) * n) % len(data)
    for threads in (1, 2) if setting.rehearse else (1, 2, 4, 8, 16):
        started = time.perf_counter()
        for _ in load(data, plan, np.split(positions, len(positions) // n), threads, setting.pinned):
            pass
        yield threads, len(positions) / (time.perf_counter() - started)


def report_program(record: Record, found: dict[str, Any]) -> None:
    """Report the whole program beside the bare loop. The bar of 4,900 images/s is that of an H200."""
    if not found:
        return
    rates = {name: statistics.median(values) for name, values in found["rates"].items()}
    is_h200 = torch.cuda.is_available() and "H200" in torch.cuda.get_device_name()
    for name, rate in rates.items():
        bar = ">= 4900" if is_h200 and name == PROGRAM else ""
        record.figure(f"ResNet-50, compiled: {name}", rate, "images/s", bar)
    record.figure("Learner.step over bare loop", rates["Learner.step"] / rates["bare loop"])
    record.figure("whole program over bare loop", rates[PROGRAM] / rates["bare loop"], bar=">= 0.97")
    steps = [line for line in map(json.loads, found["waits"]) if line.get("kind") == "step"]
    record.figure("median data_wait", 100 * statistics.median(line["data_wait"] for line in steps), "%")
    for threads, rate in found["threads"].items():
        record.figure(f"decoding, {threads} threads", rate, "images/s")
