"""Part 14: the launchers on one GPU."""

import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import yaml

from .report import NotMeasuredError, Record
from .setting import Setting

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "task": "style",
    "model.backbone": "resnet18",
    "data.size": 33,
    "augment.policy": "none",
    "train.epochs": 1,
    "train.batch_size": 16,
}
# What a launcher and the runs that it starts import.
NEEDED = (
    "pyarrow",
    "fsspec",
    "simplejpeg",
    "cv2",
    "PIL",
    "scipy",
    "torchmetrics",
    "rich",
    "tensorboard",
    "matplotlib",
    "jinja2",
)
LIMIT_S = 150


def launchers(setting: Setting, record: Record) -> None:
    """Two local runs and searches with 0 and half a GPU for each run: all complete, on the device they should use."""
    for name in NEEDED:
        import_module(name)
    grid: dict[str, Any] = {
        "name": "local",
        "fixed": {**TINY, "data.shards": str(setting.shards())},
        "parameters": {"seed": [0, 1]},
        "local": {"max_parallel": 2},
    }
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    trained = launch(setting, record, "local.py", grid)
    check_devices(record, "local", trained, gpu)
    spans = sorted((run["attempts"][-1]["started"], run["attempts"][-1]["ended"]) for run in trained)
    record.figure("two local runs train", "together" if spans[1][0] < spans[0][1] else "one after the other")
    try:
        import_module("ray")
    except ImportError:
        raise NotMeasuredError("the searches need ray; local runs are complete") from None
    for share in (0,) if setting.rehearse else (0.5, 0):
        device = gpu if share else "cpu"
        tune = {"samples": 1, "gpus_per_run": share}
        searched = {**grid, "name": f"tune{share}", "metric": {"name": "val/top1", "goal": "maximize"}, "tune": tune}
        del searched["local"]
        check_devices(record, f"search with {share:g} GPUs a run", launch(setting, record, "tune.py", searched), device)
    setting.needs_gpu()


def launch(setting: Setting, record: Record, door: str, grid: dict[str, Any]) -> list[dict[str, Any]]:
    """The `run.json` of every run of a grid, whose runs must be complete."""
    from artnet.rundir import RunDir

    file, runs = setting.folder / f"{grid['name']}.yaml", setting.folder / "runs"
    file.write_text(yaml.safe_dump(grid))
    started = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, str(ROOT / "launch" / door), "--grid", str(file), "--runs", str(runs), "--yes"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT) + os.pathsep + os.environ.get("PYTHONPATH", "")},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    record.figure(f"{grid['name']}: the whole command", time.perf_counter() - started, "s")
    print(ended.stdout, ended.stderr)
    if ended.returncode:
        last = (ended.stderr.strip() or ended.stdout.strip()).splitlines()[-1:]
        raise RuntimeError(f"{door} ended with exit code {ended.returncode}: {''.join(last)}")
    found = [RunDir(folder) for folder in sorted((runs / grid["name"]).iterdir()) if (folder / "run.json").exists()]
    if len(found) != 2 or any(run.result() is None for run in found):
        raise RuntimeError(f"{door} left {sum(run.result() is not None for run in found)} of 2 runs complete")
    return [run.run() for run in found]


def check_devices(record: Record, name: str, runs: list[dict[str, Any]], expected: str) -> None:
    """Check that every run has trained on the device that it should use."""
    used = [run["attempts"][-1]["device"] for run in runs]
    record.figure(f"{name}: devices", ", ".join(used))
    record.check(set(used) == {expected}, f"{name}: trained on {', '.join(used)}, not on {expected}")
