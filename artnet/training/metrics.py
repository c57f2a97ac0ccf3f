"""Logging during training: metrics.jsonl, TensorBoard and the terminal. For rank 0 only, except `Throughput`."""

import json
import resource
import secrets
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.table import Column
from torch.utils.tensorboard import SummaryWriter

from shards.files import atomic_write, open_log

from ..data.batch import Batch
from ..errors import os_error_message
from ..heartbeat import Heartbeat
from ..rundir import RunDir
from .progress import Progress

PLAIN_SECONDS = 10  # minimum between two step lines if stderr is not a terminal


class MetricsLogger:
    """Writes the run's metrics. On resuming from `progress`, later lines of an earlier attempt are removed.

    `steps` and `epochs` are those of the whole run.
    """

    def __init__(self, run: RunDir, progress: Progress, steps: int, epochs: int) -> None:
        step = progress.step
        kept = [line for line in run.metrics() if isinstance(line.get("step"), int) and line["step"] <= step]
        # The last step of an epoch may be saved before the epoch is: then its line is written again.
        kept = [line for line in kept if line.get("kind") != "epoch" or line.get("epoch", 0) <= progress.epochs]
        atomic_write(run.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))
        self._files = ExitStack()
        self._file = self._files.enter_context(open_log(run.metrics_file))
        self._hook = threading.excepthook
        threading.excepthook = self._thread_failed
        # Nobody can have put a link where this file, of a name that cannot be guessed, will be.
        suffix = f".{secrets.token_hex(8)}"
        self._board = SummaryWriter(run.tensorboard, purge_step=step + 1, filename_suffix=suffix)
        self._steps, self._epochs = steps, epochs
        self._first_step, self._started, self._last_shown = step, time.monotonic(), -float("inf")
        self._last_step: Mapping[str, Any] = {}
        self._val_top1 = next((line["val/top1"] for line in reversed(kept) if "val/top1" in line), None)
        console = Console(stderr=True)
        self._is_live = console.is_terminal
        self._bar = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[shown]}", table_column=Column()),  # wraps instead of being cut off
            console=console,
            disable=not self._is_live,
        )
        self._task = self._bar.add_task(run.name, total=steps, completed=step, shown="")
        self._bar.start()
        self._heartbeat = None if self._is_live else Heartbeat()

    def close(self) -> None:
        """Flush and close everything."""
        self._bar.stop()
        if self._heartbeat:
            self._heartbeat.close()
        try:
            self._board.close()
        finally:
            threading.excepthook = self._hook
            self._files.close()

    def _thread_failed(self, failed: threading.ExceptHookArgs) -> None:
        """Print no traceback where TensorBoard's thread cannot write: the next call of `log` raises the error."""
        if not issubclass(failed.exc_type, OSError):
            self._hook(failed)

    def now(self, what: str) -> None:
        """Show what the run is doing: beside the progress bar on a terminal, else if nothing is printed for long."""
        self._bar.update(self._task, description=what)
        if self._heartbeat:
            self._heartbeat.now(what)

    def step(self, step: int, epoch: int) -> None:
        """Advance the progress to `step`, in `epoch`, counted from 1."""
        where = f"epoch {epoch}/{self._epochs}"
        self._bar.update(self._task, completed=step, description=where)
        if self._heartbeat:
            self._heartbeat.now("training", f"{where}, step {step}/{self._steps}")

    def log(self, kind: str, values: Mapping[str, Any]) -> None:
        """Log `values` with the kind "step" or "epoch". They must contain `epoch` and `step`, the steps done so far."""
        line = json.dumps({"kind": kind, "time": round(time.time(), 3), **values}, allow_nan=False)
        self._file.write(f"{line}\n".encode())
        self._file.flush()
        for name, value in values.items():
            if name not in ("epoch", "step") and not isinstance(value, list):
                self._board.add_scalar(name if "/" in name else f"{kind}/{name}", value, values["step"])
        if kind == "epoch":
            self._val_top1 = values["val/top1"]
            if self._last_step:
                self._bar.update(self._task, shown=live_line(self._last_step, self._val_top1))
            self.say(
                f"epoch {values['epoch']}: train loss {values['train/loss']:.3f}, val nll {values['val/nll']:.3f}, "
                f"val top-1 {100 * values['val/top1']:.1f} %, {values['images_per_s']:.0f} images/s"
            )
        else:
            self._show(values)

    def say(self, line: str) -> None:
        """Print a line to stdout."""
        print(line, flush=True)
        if self._heartbeat:
            self._heartbeat.printed()

    def _show(self, values: Mapping[str, Any]) -> None:
        """Show a step: next to the progress bar on a terminal, else as a line, at most every `PLAIN_SECONDS`."""
        self._last_step = values
        where, shown = f"epoch {values['epoch']}/{self._epochs}", live_line(values, self._val_top1)
        self._bar.update(self._task, shown=shown)
        now = time.monotonic()
        if not self._is_live and now - self._last_shown >= PLAIN_SECONDS:
            self._last_shown = now
            step = values["step"]
            left = (self._steps - step) * (now - self._started) / (step - self._first_step)
            self.say(f"{where}, step {step}/{self._steps}, {shown}, {timedelta(seconds=round(left))} left")


def live_line(values: Mapping[str, Any], val_top1: float | None) -> str:
    """Format the values of a step. `val_top1` is that of the last epoch, None before the end of the first."""
    accuracy = "" if val_top1 is None else f"val top-1 {100 * val_top1:.1f} %, "
    return (
        f"loss {values['loss']:.3f}, {accuracy}{values['images_per_s']:.0f} images/s, "
        f"data wait {100 * values['data_wait']:.0f} %, memory {values['memory_gib']:.1f} GiB"
    )


class Throughput:
    """Measures throughput and memory between two calls of `measure`. `batch_size` is the global batch size."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self._batch_size, self._device = batch_size, device
        self._begin()

    def _begin(self) -> None:
        self._started = time.monotonic()
        self._waited = 0.0
        self._batches = 0

    def waiting(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the same batches, and measure the time spent waiting for them."""
        remaining = iter(batches)
        while True:
            started = time.monotonic()
            batch = next(remaining, None)
            self._waited += time.monotonic() - started
            if batch is None:
                return
            self._batches += 1
            yield batch

    def measure(self) -> dict[str, float]:
        """The measurements since the last call: images/s, `data_wait` as a share of the time, peak memory in GiB."""
        seconds = time.monotonic() - self._started
        measured = {
            "images_per_s": round(self._batch_size * self._batches / seconds, 1),
            "data_wait": round(self._waited / seconds, 4),
            "memory_gib": round(peak_memory(self._device) / 2**30, 3),
        }
        self._begin()
        return measured


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of tensors on a GPU, of the process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class TolerateWriteErrors:
    """Tolerates that metrics cannot be written, as on a full disk: warns once, and the training continues."""

    def __init__(self, name: str) -> None:
        self._name, self._has_warned = name, False

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """A context that suppresses `OSError`."""
        try:
            yield
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                print(
                    f"{self._name}: warning: metrics could not be written ({os_error_message(error)}); "
                    "the training continues",
                    file=sys.stderr,
                    flush=True,
                )
