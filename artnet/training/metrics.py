"""What a run logs while it trains: metrics.jsonl, TensorBoard and lines on the terminal. Rank 0 only."""

import json
import resource
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from torch.utils.tensorboard import SummaryWriter

from shards.files import atomic_write

from ..data.loader import Batch
from ..errors import os_error_message
from ..rundir import RunDir

PLAIN_SECONDS = 10  # at least between two lines where no terminal can show one that changes


class MetricsLogger:
    """Writes the run's metrics. Going on at `step` drops what an earlier attempt wrote after it."""

    def __init__(self, run: RunDir, step: int, steps: int, epochs: int) -> None:
        kept = [line for line in run.metrics() if isinstance(line.get("step"), int) and line["step"] <= step]
        atomic_write(run.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = run.metrics_file.open("a", encoding="utf-8")
        self._board = SummaryWriter(run.tensorboard, purge_step=step + 1)
        self._steps, self._epochs = steps, epochs
        self._first_step, self._started, self._spoke = step, time.monotonic(), -float("inf")
        self._val_top1 = next((line["val/top1"] for line in reversed(kept) if "val/top1" in line), None)
        console = Console(stderr=True)
        self._is_live = console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}", table_column=Column()),  # may wrap: nothing is cut off
            console=console,
            disable=not self._is_live,
        )
        self._task = self._bar.add_task(run.name, total=steps, completed=step, shown="")
        self._bar.start()

    def close(self) -> None:
        """Flush and close everything."""
        self._bar.stop()
        self._board.close()
        self._file.close()

    def step(self, step: int) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=step)

    def log(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write one line of `kind` `step` or `epoch`; `values` holds `epoch` and `step`, the steps done so far."""
        self._file.write(json.dumps({"kind": kind, "time": round(time.time(), 3), **values}, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in values.items():
            if name not in ("epoch", "step") and not isinstance(value, list):
                self._board.add_scalar(name if "/" in name else f"{kind}/{name}", value, values["step"])
        if kind == "epoch":
            self._val_top1 = values["val/top1"]
            self.say(
                f"epoch {values['epoch']}: train loss {values['train/loss']:.3f}, val nll {values['val/nll']:.3f}, "
                f"val top-1 {100 * values['val/top1']:.1f} %, {values['images_per_s']:.0f} images/s"
            )
        else:
            self._show(values)

    def say(self, line: str) -> None:
        """Print a line for good."""
        print(line, flush=True)

    def _show(self, values: Mapping[str, Any]) -> None:
        """Show a step line: in place on a terminal, else as a line of its own, but not too often."""
        where, shown = f"epoch {values['epoch']}/{self._epochs}", live_line(values, self._val_top1)
        self._bar.update(self._task, description=where, shown=shown)
        now = time.monotonic()
        if not self._is_live and now - self._spoke >= PLAIN_SECONDS:
            self._spoke = now
            step = values["step"]
            left = (self._steps - step) * (now - self._started) / (step - self._first_step)
            self.say(f"{where}, step {step}/{self._steps}, {shown}, {timedelta(seconds=round(left))} left")


def live_line(values: Mapping[str, Any], val_top1: float | None) -> str:
    """What a step line says to people; `val_top1` is the last epoch's, None before the first has ended."""
    accuracy = "" if val_top1 is None else f"val top-1 {100 * val_top1:.1f} %, "
    return (
        f"loss {values['loss']:.3f}, {accuracy}{values['images_per_s']:.0f} images/s, "
        f"data wait {100 * values['data_wait']:.0f} %, memory {values['memory_gib']:.1f} GiB"
    )


class Throughput:
    """Measures this rank between two calls of `measure`. `batch_size` counts the samples of all ranks together."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._batch_size, self._device = batch_size, device
        self._begin()

    def _begin(self) -> None:
        self._started = time.monotonic()
        self._waited = 0.0
        self._batches = 0

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches; the time spent waiting for each is counted."""
        remaining = iter(batches)
        while True:
            asked = time.monotonic()
            batch = next(remaining, None)
            self._waited += time.monotonic() - asked
            if batch is None:
                return
            self._batches += 1
            yield batch

    def measure(self) -> dict[str, float]:
        """What was measured since the last call: images/s, `data_wait` as a share of the time, memory in GiB."""
        seconds = time.monotonic() - self._started
        measured = {
            "images_per_s": round(self._batch_size * self._batches / seconds, 1),
            "data_wait": round(self._waited / seconds, 4),
            "memory_gib": round(peak_memory(self._device) / 2**30, 3),
        }
        self._begin()
        return measured


def peak_memory(device: torch.device) -> int:
    """The most memory that tensors took on a GPU, or that the process took on a CPU, so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class TolerateWriteErrors:
    """Metrics may fail to be written, as on a full disk: it is said once, and the run goes on."""

    def __init__(self, name: str) -> None:
        self._name, self._spoken = name, False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Let the block fail as the file system refuses."""
        try:
            yield
        except OSError as error:
            if not self._spoken:
                self._spoken = True
                print(
                    f"{self._name}: warning: metrics could not be written ({os_error_message(error)}); "
                    "the training goes on",
                    file=sys.stderr,
                    flush=True,
                )
