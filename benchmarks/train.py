"""How fast is the whole training program, compared with a bare training loop of the model alone?

    python benchmarks/train.py --images IMAGES --labels LABELS

Without --images, it paints a demo data set. It packs the paintings, trains ResNet-50 with the modern recipe (on a GPU:
compiled, bfloat16, batches of 256 crops of 224 pixels; on a CPU: float32, 32 crops of 128 pixels) and prints a Markdown
table:

- images/s of three loops that take turns in one process, and their ratio to the first: a bare loop on random tensors
  (forward, cross-entropy, backward, optimizer), `Learner.step` on one batch, and `Trainer.fit`, from shards to step. A
  turn of `Trainer.fit` is longer than its threads can decode ahead during the other turns.
- on 2 CPU cores: images/s of two ranks with one thread each, over one process with two threads, run as commands.
- the cost of two checkpoints per epoch (last and best), as a share of an epoch of these paintings: the time that short
  steps of the same network lose with a checkpoint every 2 s.
- the time of evaluation beyond the forward passes of as many random tensors of the same shapes.
- seconds from the start to the first step, by part.

Figures are medians over rounds, with minimum and maximum.
"""

import argparse
import contextlib
import copy
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional as F

from artnet.config import RunConfig, build, unflatten
from artnet.data.batch import Batch
from artnet.distributed.ranks import Ranks
from artnet.inference.forward import PixelNetwork
from artnet.inference.predict import predict
from artnet.rundir import RunDir
from artnet.stop import StopRequest
from artnet.training.trainer import Trainer
from shards.demo import dataset as demo
from shards.index import Index, read_index
from shards.pack import pack
from shards.workers import cores

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
ALONE = Ranks(rank=0, world_size=1, local_world_size=1, device=DEVICE, threads=cores())
SIZE, BATCH, TURN = (224, 256, 100) if GPU else (128, 32, 4)  # pixels, images, steps of a contender's turn
WARM_UP = 20 if GPU else 2  # steps
EVAL_BATCHES = 20 if GPU else 4
HERE = Path(__file__).resolve().parent


class EnoughError(Exception):
    """Raised to end a training when the measurement is complete."""


def wait() -> None:
    """Wait for the GPU, as calls return before it is done."""
    if GPU:
        torch.cuda.synchronize()


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds `work` takes."""
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


class Bench:
    """The packed paintings, their index, and a folder for runs."""

    def __init__(self, shards: Path, folder: Path) -> None:
        self.shards, self.folder, self.index = shards, folder, read_index(shards)
        self.runs = 0

    def config(self, **changes: object) -> RunConfig:
        values = {"task": "style", "data.shards": str(self.shards), "data.size": SIZE, "train.batch_size": BATCH}
        return build(unflatten(values | {"train.compile": GPU} | changes))

    def run_dir(self) -> RunDir:
        self.runs += 1
        return RunDir(self.folder / f"run{self.runs}")

    def training(self, config: RunConfig, index: Index | None = None) -> Trainer:
        return Trainer(config, index or self.index, self.run_dir(), ALONE, StopRequest(), accumulate=1)


def fit(training: Trainer, before_step: Callable[[Batch, int], None]) -> None:
    """Train until `before_step`, which is called with each batch and its step number, raises `EnoughError`."""
    step = training.learner.step

    def watched(batch: Batch, number: int) -> Any:
        before_step(batch, number)
        return step(batch, number)

    training.learner.step = watched
    with contextlib.suppress(EnoughError):
        training.fit()


def bare_loop(training: Trainer) -> Callable[[], None]:
    """Return a step of the same network and optimizer in the simplest form, on random tensors."""
    model = copy.deepcopy(training.learner.model).train()
    forward = torch.compile(model) if GPU else model
    example = training.learner.optimizer
    optimizer = type(example)(model.parameters(), **example.defaults)
    images = torch.randn(BATCH, 3, SIZE, SIZE, device=DEVICE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(training.classes["style"], (BATCH,), device=DEVICE)

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=GPU):
            logits: Tensor = forward(images)["style"]
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def throughput(bench: Bench, rounds: int, ready: Callable[[], object] = lambda: None) -> dict[str, list[float]]:
    """Return the images/s of the bare loop, `Learner.step` and the whole program, in each round.

    `ready` is called when all three are compiled, before the first round.
    """
    config = bench.config()
    # One epoch contains all rounds, as the work at its end is measured separately.
    paintings = len(bench.training(config).data["train"])
    copies = -(-(WARM_UP + rounds * (2 * TURN) + 1) * BATCH // paintings)
    table = pa.concat_tables([bench.index.table] * copies)
    training = bench.training(config, dataclasses.replace(bench.index, table=table))
    bare, learn = bare_loop(training), training.learner.step
    for _ in range(WARM_UP):
        bare()
    rates: dict[str, list[float]] = {"bare loop": [], "Learner.step": [], "whole program": []}
    began = 0.0

    def take_turns(batch: Batch, number: int) -> None:
        nonlocal began
        done = number - WARM_UP
        if done < 0 or done % TURN:
            return
        wait()
        if not done:
            ready()
        else:
            rates["whole program"].append(TURN * BATCH / (time.perf_counter() - began))
        if len(rates["whole program"]) == rounds:
            raise EnoughError
        for name, work in (("bare loop", bare), ("Learner.step", lambda: learn(batch, number))):
            rates[name].append(TURN * BATCH / timed(lambda work=work: [work() for _ in range(TURN)]))
        began = time.perf_counter()

    fit(training, take_turns)
    return rates


def command_rate(bench: Bench, ranks: int, steps: int) -> float:
    """Return the images/s of the command on 2 CPU cores, from its metrics after two steps."""
    run, file = bench.run_dir(), bench.folder / "ddp.json"
    values = bench.config(**{"train.log_every": 1, "train.compile": False, "data.size": 128, "train.batch_size": 32})
    file.write_text(values.model_dump_json())  # JSON is YAML
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    process = subprocess.Popen(
        [sys.executable, *launcher, "-m", "artnet.train", "--config", str(file), "--run-dir", str(run.path)],
        cwd=HERE.parent,
        env={**os.environ, "OMP_NUM_THREADS": str(2 // ranks), "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(run.metrics()) < 2 + steps:
        if process.poll() is not None:
            raise SystemExit(f"the training with {ranks} ranks ended by itself with exit code {process.returncode}")
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    process.wait()
    first, *_, last = run.metrics()[1 : 2 + steps]
    return (last["step"] - first["step"]) * 32 / (last["time"] - first["time"])


def step_seconds(bench: Bench, checkpoint_minutes: float, seconds: float) -> tuple[float, int, int]:
    """Train at a small size; return the seconds, the number of steps, and of checkpoints written."""
    config = bench.config(
        **{"data.size": 33, "train.batch_size": 4, "train.compile": False, "augment.policy": "none"},
        **{"train.checkpoint_minutes": checkpoint_minutes, "train.log_every": 10_000},
    )
    table = pa.concat_tables([bench.index.table] * 50)
    training = bench.training(config, dataclasses.replace(bench.index, table=table))
    last = training.run.checkpoints / "last.pt"
    began, steps, written, seen = 0.0, 0, 0, None

    def watch(batch: Batch, number: int) -> None:
        nonlocal began, steps, written, seen
        if number < WARM_UP:
            return
        began = began or time.perf_counter()
        with contextlib.suppress(FileNotFoundError):
            found = last.stat().st_mtime_ns
            written, seen = written + (found != seen), found
        steps = number - WARM_UP
        if time.perf_counter() - began > seconds:
            wait()
            raise EnoughError

    fit(training, watch)
    return time.perf_counter() - began, steps, written


def checkpoint_cost(bench: Bench, rounds: int) -> list[float]:
    """Return how many seconds of training a checkpoint costs, in each round."""
    costs = []
    for _ in range(rounds):
        plain, plain_steps, _ = step_seconds(bench, 1e6, 15)
        saving, steps, written = step_seconds(bench, 2 / 60, 15)
        costs.append((saving - steps * plain / plain_steps) / written)
    return costs


def evaluation_overhead(bench: Bench, rounds: int) -> list[float]:
    """Return the time of predicting and scoring beyond the forward passes, as a share of these, in each round."""
    training = bench.training(bench.config())
    data, model = training.data["val"], training.learner.for_evaluation()
    kept = EVAL_BATCHES * BATCH
    data.rows, data.labels = data.rows[:kept], data.labels[:kept]

    def score() -> None:
        for answers in predict(PixelNetwork(model), data, ALONE, training.threads, training.log_priors).values():
            answers.scores()

    shapes: list[torch.Size] = []
    hook = model.register_forward_pre_hook(lambda module, images: shapes.append(images[0].shape))
    score()
    hook.remove()
    inputs = {shape: torch.randn(shape, device=DEVICE).contiguous(memory_format=torch.channels_last)
              for shape in set(shapes)}  # fmt: skip

    @torch.inference_mode()
    def forward() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=GPU):
            for shape in shapes:
                model(inputs[shape])

    forward()
    found = []
    for _ in range(rounds):
        whole, alone = timed(score), timed(forward)
        found.append(whole / alone - 1)
    return found


def startup(bench: Bench, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each part of the start of a training, in each round."""
    file = bench.folder / "startup.json"
    file.write_text(bench.config(**{"train.compile": False}).model_dump_json())
    parts: dict[str, list[float]] = {}
    for _ in range(rounds):
        command = [sys.executable, str(HERE / "startup.py"), str(file), str(time.time())]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        for name, seconds in json.loads(said.splitlines()[-1]).items():
            parts.setdefault(name, []).append(seconds)
    return parts


def row(name: str, found: Sequence[float], form: str, target: str = "") -> None:
    """Print a row of the table: median, minimum and maximum."""
    cells = [format(value, form) for value in (statistics.median(found), min(found), max(found))]
    print(f"| {name} | {' | '.join(cells)} | {target} |", flush=True)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if bool(args.images) != bool(args.labels):
        parser.error("give both --images and --labels, or neither")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if not args.images:
            demo.write(folder / "demo", paintings=2000, seed=0)
            args.images, args.labels = folder / "demo" / "images", folder / "demo" / "labels"
        pack(args.images, args.labels, folder / "shards", allow_missing=True)
        bench = Bench(folder / "shards", folder)
        machine = torch.cuda.get_device_name() if GPU else f"{torch.get_num_threads()} CPU threads"
        print(f"{machine}, torch {torch.__version__}, ResNet-50, batches of {BATCH} images of {SIZE} pixels\n")
        print("| | median | minimum | maximum | target |\n| --- | --: | --: | --: | --: |")
        rates = throughput(bench, args.rounds)
        base = rates["bare loop"]
        for name, found in rates.items():
            row(f"{name}, images/s", found, ",.1f")
        for name, target in (("Learner.step", ""), ("whole program", "0.97" if GPU else "0.95")):
            ratios = [mine / theirs for mine, theirs in zip(rates[name], base, strict=True)]
            row(f"{name} over bare loop", ratios, ".3f", f">= {target}" if target else "")
        both = [(command_rate(bench, 1, 6), command_rate(bench, 2, 6)) for _ in range(args.rounds)]
        row("one process with 2 threads, images/s", [one for one, _ in both], ",.1f")
        row("2 ranks with 1 thread each, images/s", [two for _, two in both], ",.1f")
        row("2 ranks over one process", [two / one for one, two in both], ".3f", ">= 0.9")
        costs = checkpoint_cost(bench, args.rounds)
        epoch = len(bench.training(bench.config()).data["train"]) / statistics.median(rates["whole program"])
        row("a checkpoint, ms of training", [1e3 * cost for cost in costs], ",.0f")
        row(f"checkpoints, % of an epoch of {epoch:,.0f} s", [200 * cost / epoch for cost in costs], ".2f", "< 1")
        row("evaluation beyond forward, %", [100 * share for share in evaluation_overhead(bench, args.rounds)],
            ".1f", "< 5")  # fmt: skip
        parts = startup(bench, args.rounds)
        for name, found in parts.items():
            row(f"start: {name}, s", found, ".2f")
        row("start to first step, s", [sum(found) for found in zip(*parts.values(), strict=True)], ".2f")


if __name__ == "__main__":
    main()
