"""`python benchmarks/tune.py cost | ask`: what a search costs beside its trainings.

`cost` runs the same grids of tiny runs, one at a time, with launch/tune.py and launch/local.py in turn: what a search
costs once and for each run, and how the memory of the process that drives Ray grows from run to run. `ask` times the
next configuration, history included, in a folder of many finished runs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from artnet.rundir import write_json
from launch.grid import load
from launch.search.block import TuneBlock
from launch.search.study import Study
from launch.sweep.folder import SweepDir
from shards.demo import dataset as demo
from shards.pack import pack

ROOT = Path(__file__).resolve().parents[1]
TINY = {
    "recipe": "modern",
    "task": "style",
    "model.backbone": "resnet18",
    "data.size": 33,
    "data.threads": 1,
    "augment.policy": "none",
    "train.epochs": 1,
    "train.batch_size": 16,
}
SPACE = {
    "optim.lr": {"loguniform": [0.001, 1.0]},
    "augment.crop_scale": {"uniform": [0.2, 0.9]},
    "model.attention": {"choice": ["none", "se", "eca", "cbam"]},
}


def write_grid(folder: Path, shards: Path, runs: int) -> Path:
    """A grid of runs that differ in the seed."""
    grid = {
        "name": "bench",
        "fixed": {**TINY, "data.shards": str(shards)},
        "parameters": {"seed": list(range(runs))},
        "tune": {"scheduler": "none", "max_parallel": 1},
        "local": {"max_parallel": 1},
    }
    folder.mkdir(parents=True)
    (folder / "grid.yaml").write_text(yaml.safe_dump(grid))
    return folder / "grid.yaml"


def launch(door: str, grid: Path) -> tuple[float, list[int]]:
    """The seconds that a launch takes, and the memory of its Ray driver in kB after each run; empty without Ray."""
    command = [sys.executable, str(ROOT / "launch" / f"{door}.py"), "--grid", str(grid), "--runs", str(grid.parent)]
    began, memory, complete = time.monotonic(), [], 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        while launcher.poll() is None:
            time.sleep(0.1)
            done = len(list(grid.parent.glob("bench/*/result.json")))
            if door == "tune" and done > complete:
                complete = done
                memory += [kb for kb in [driver_memory(launcher.pid)] if kb]
    assert launcher.returncode == 0, command
    return time.monotonic() - began, memory


def driver_memory(launcher: int) -> int:
    """The resident memory of the process that drives Ray, in kB; 0 if it has gone."""
    try:
        children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
        for child in children:
            if b"launch.search.driver" in Path(f"/proc/{child}/cmdline").read_bytes():
                lines = Path(f"/proc/{child}/status").read_text().splitlines()
                return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
    except OSError:
        pass
    return 0


def cost(folder: Path, few: int, many: int, rounds: int) -> dict[str, object]:
    """Both doors on a grid of few and one of many runs, in turn, several times: medians of the paired differences."""
    demo.write(folder, paintings=200, seed=0)
    pack(folder / "images", folder / "labels", folder / "shards")
    once, each, memory = [], [], []
    for number in range(rounds):
        seconds = {}
        for runs in (few, many):
            for door in ("local", "tune") if number % 2 else ("tune", "local"):
                grid = write_grid(folder / f"{number}-{door}-{runs}", folder / "shards", runs)
                seconds[door, runs], seen = launch(door, grid)
                memory = seen if runs == many and seen else memory
        more = {runs: seconds["tune", runs] - seconds["local", runs] for runs in (few, many)}
        each.append((more[many] - more[few]) / (many - few))
        once.append(more[few] - few * each[-1])
        shown = {" ".join(map(str, key)): round(value, 1) for key, value in seconds.items()}
        print(f"round {number + 1} of {rounds}: {json.dumps(shown)}", flush=True)
    grown = (memory[-1] - memory[len(memory) // 4]) / 1024 if len(memory) > 3 else None
    return {
        "seconds once over launch/local.py (bar 15)": round(statistics.median(once), 1),
        "seconds for each run over launch/local.py (bar 1)": round(statistics.median(each), 2),
        "MB that the driver grows over the last three quarters of the runs": grown,
        "runs": [few, many],
        "rounds": rounds,
    }


def ask(folder: Path, runs: int, epochs: int) -> dict[str, object]:
    """The next configuration of a search with so many finished runs, each with a line for each of so many epochs."""
    folder.mkdir(exist_ok=True)
    file = folder / "grid.yaml"
    fixed = {**TINY, "data.shards": "/nowhere", "train.epochs": epochs}
    tune = {"trials": runs + 1, "startup": runs}
    file.write_text(yaml.safe_dump({"name": "bench", "fixed": fixed, "parameters": SPACE, "tune": tune}))
    loaded = load(file)
    sweep = SweepDir(folder / "bench")
    sweep.folder.mkdir()

    def fresh() -> Study:
        return Study(sweep, loaded, loaded.read_block(TuneBlock, "tune", loaded.tune, {}), ())

    study = fresh()
    study.begin()
    for number in range(runs):
        values = study.space.random(0, number, 0)
        study.claim([study.space.run(values)])
        trial = study.history().trials[-1]
        trial.folder.write_config(trial.run.config)
        lines = (
            {"kind": "epoch", "epoch": epoch, "seconds": epoch, "time": 0, "val/top1": 0.5}
            for epoch in range(1, epochs + 1)
        )
        trial.folder.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        scores = {"top1": 0.5, "top5": 0.9, "macro_f1": 0.4, "nll": 1.0, "ece": 0.1, "recall": [0.5], "n": 10}
        task = {"classes": 5, "majority": 0.3, "val": scores, "test": scores}
        result = {"signature": trial.signature, "data": "x", "best_epoch": 1, "epochs": epochs, "steps": 4}
        write_json(trial.folder.result_file, {**result, "parameters": 9, "seconds": 1.0, "tasks": {"style": task}})
    began = time.monotonic()
    new = fresh()
    read = time.monotonic()
    history = new.history()
    known = time.monotonic()
    new.propose(history)
    asked = time.monotonic()
    return {
        "finished runs": runs,
        "seconds to read the history in a new process": round(known - read, 2),
        "seconds to ask TPE (bar 1.5 with the history)": round(asked - known, 2),
        "seconds in all": round(asked - began, 2),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("what", choices=["cost", "ask"])
    parser.add_argument("--few", type=int, default=1, help="runs of the small grid")
    parser.add_argument("--many", type=int, default=6, help="runs of the large grid")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--finished", type=int, default=500, help="finished runs of `ask`")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured = (
            cost(folder, args.few, args.many, args.rounds) if args.what == "cost" else ask(folder, args.finished, 90)
        )
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
