"""What a run tells while it trains: metrics.jsonl, TensorBoard, and a line for whoever watches. Rank 0 only."""

import json
import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from shards.files import atomic_write

from ..rundir import RunDir


class Journal:
    """Writes the run's metrics. Going on at `step` drops what an earlier attempt wrote after it."""

    def __init__(self, run: RunDir, step: int, steps: int) -> None:
        kept = [line for line in run.metrics() if isinstance(line.get("step"), int) and line["step"] <= step]
        atomic_write(run.metrics_file, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = run.metrics_file.open("a", encoding="utf-8")
        self._board = SummaryWriter(run.tensorboard, purge_step=step + 1)
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
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

    def log(self, kind: str, values: dict[str, Any]) -> None:
        """Write one line of `kind` `step` or `epoch`; `values` holds `epoch` and `step`, the steps done so far."""
        self._file.write(json.dumps({"kind": kind, "time": round(time.time(), 3), **values}, allow_nan=False) + "\n")
        self._file.flush()
        for name, value in values.items():
            if name not in ("epoch", "step"):
                self._board.add_scalar(name if "/" in name else f"{kind}/{name}", value, values["step"])
        if kind == "epoch":
            shown = (
                f"epoch {values['epoch']}: train loss {values['train/loss']:.3f}, val loss {values['val/loss']:.3f}, "
                f"val top-1 {100 * values['val/top1']:.1f} %, {values['images_per_s']:.0f} images/s"
            )
            print(shown, file=sys.stdout, flush=True)
        else:
            shown = f"epoch {values['epoch']} loss {values['loss']:.3f} {values['images_per_s']:.0f} images/s"
        self._bar.update(self._task, shown=shown)
