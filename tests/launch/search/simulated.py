"""A search whose runs are made up: files as a training writes them, with a metric that is a function of the values."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from artnet.rundir import write_json
from launch.grid import load
from launch.search.block import TuneBlock
from launch.search.study import Study
from launch.search.trials import Trial
from launch.sweep.folder import SweepDir

from ..tiny_grid import complete

SPACE = {
    "optim.lr": {"loguniform": [0.001, 1.0]},
    "augment.crop_scale": {"uniform": [0.2, 0.9]},
    "optim.schedule": {"choice": ["cosine", "step", "constant"]},
}
FIXED = {"task": "style", "data.shards": "/nowhere", "train.epochs": 9}


def study(folder: Path, tune: Mapping[str, Any] | None = None, sets: tuple[str, ...] = (), **blocks: Any) -> Study:
    """The search of a grid in this folder, as a process that has just started sees it."""
    file = folder / "grid.yaml"
    given = {"name": "made-up", "fixed": FIXED, "parameters": SPACE, "tune": {"trials": 12, **(tune or {})}, **blocks}
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(given, sort_keys=False))
    loaded = load(file)
    sweep = SweepDir(folder / "runs" / loaded.name)
    sweep.folder.mkdir(parents=True, exist_ok=True)
    made = Study(sweep, loaded, loaded.read_block(TuneBlock, "tune", loaded.tune, {}), sets)
    made.begin()
    return made


def train(search: Study, trial: Trial, curve: Callable[[Trial, int], float], judge: bool = True) -> int:
    """Train a trial to its end, or until it is stopped. Returns the epochs."""
    trial.folder.write_config(trial.run.config)
    last = trial.run.config.train.epochs
    for epoch in range(len(search.reader.curve(trial.folder)[0]) + 1, last + 1):
        line = {"kind": "epoch", "time": 1.0, "epoch": epoch, "step": epoch, "seconds": 36.0 * epoch}
        with trial.folder.metrics_file.open("a") as file:
            file.write(json.dumps({**line, search.grid.metric["name"]: curve(trial, epoch)}) + "\n")
        if judge and epoch < last and search.judge(trial.folder.name, epoch):
            return epoch
    complete(trial.folder)
    return last


def fail(trial: Trial, reason: str = "killed", diverged: bool = False) -> None:
    """Record that a run has failed."""
    trial.folder.write_config(trial.run.config)
    write_json(trial.folder.state_file, {"state": "failed", "reason": reason})
    if diverged:
        write_json(trial.folder.bad_batch_file, {})


def peak(trial: Trial, epoch: int = 9) -> float:
    """A metric with its best at a learning rate of 0.1: the other keys count little."""
    lr, crop = trial.values["optim.lr"], trial.values["augment.crop_scale"]
    full = 0.9 - 0.2 * abs(_log10(lr) + 1) - 0.05 * abs(crop - 0.5) - 0.02 * (trial.values["optim.schedule"] == "step")
    return full * (0.7 + 0.3 * epoch / 9)


def _log10(value: float) -> float:
    from math import log10

    return log10(value)


def run(search: Study, curve: Callable[[Trial, int], float] = peak) -> list[dict[str, Any]]:
    """Search to the end, one trial at a time. Returns the values that were asked for."""
    while (trial := search.ask(search.history())) is not None:
        train(search, trial, curve)
    return [dict(trial.values) for trial in search.history().trials]
