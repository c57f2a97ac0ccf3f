"""`python benchmarks/search.py record | replay`: what a search finds, and for how many epochs.

`record` trains every configuration of a table with launch/tune.py and keeps val top-1 after each epoch, in
`search_table.csv`; it notes how the memory of the process that drives Ray grows. `replay` searches this table instead
of training: TPE against random search, and ASHA against training every run to its end.
"""

import argparse
import csv
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from artnet.config import flatten  # noqa: E402
from artnet.rundir import RunDir  # noqa: E402
from benchmarks.tune import TINY, launch  # noqa: E402
from shards.demo import dataset as demo  # noqa: E402
from shards.index import read_index, write_index  # noqa: E402
from shards.pack import pack  # noqa: E402
from tests.launch.search.simulated import run, study  # noqa: E402

TABLE = Path(__file__).with_name("search_table.csv")
EPOCHS = 9
LEVELS: dict[str, list[Any]] = {
    "optim.lr": [0.0005, 0.002, 0.008, 0.03, 0.12, 0.5, 2.0, 8.0],
    "optim.weight_decay": [0.0001, 0.003, 0.1],
    "augment.crop_scale": [0.25, 0.5, 0.9],
    "model.attention": ["none", "se", "cbam"],
}
# Numbers are drawn between the levels, and the nearest level answers.
SPACE = {
    "optim.lr": {"loguniform": [0.00025, 16.0]},
    "optim.weight_decay": {"loguniform": [0.00002, 0.6]},
    "augment.crop_scale": {"uniform": [0.15, 1.0]},
    "model.attention": {"choice": LEVELS["model.attention"]},
}
LOGARITHMIC = ("optim.lr", "optim.weight_decay")
FIXED = {
    **TINY, "train.batch_size": 32, "eval.enlarge": 1, "eval.flip": False, "optim.ema_half_life": 0,
    "train.epochs": EPOCHS,
}  # fmt: skip
TRAIN, VAL = 256, 800  # paintings: with a val of 200, chance is as large as the differences
SEARCHES: dict[str, dict[str, Any]] = {
    "tpe": {"searcher": "tpe", "scheduler": "none", "trials": 30},
    "random": {"searcher": "random", "scheduler": "none", "trials": 30},
    "all": {"searcher": "random", "scheduler": "none", "trials": 60},
    "ASHA from epoch 1": {"searcher": "random", "scheduler": "asha", "trials": 60, "grace_epochs": 1},
    "ASHA from epoch 2, the default": {"searcher": "random", "scheduler": "asha", "trials": 60},
}
Table = Mapping[tuple[Any, ...], Sequence[float]]


def record(folder: Path, out: Path, parallel: int) -> dict[str, object]:
    """Train every configuration of the table."""
    demo.write(folder, paintings=TRAIN + VAL + 100, seed=0)
    pack(folder / "images", folder / "labels", folder / "packed", short_side=64)
    grid = {
        "name": "bench",
        "fixed": {**FIXED, "data.shards": str(split_anew(folder / "packed"))},
        "parameters": LEVELS,
        "tune": {"scheduler": "none", "max_parallel": parallel},
    }
    file = folder / "grid.yaml"
    file.write_text(yaml.safe_dump(grid))
    seconds, memory = launch("tune", file)
    rows = []
    for result in sorted((folder / "bench").glob("*/result.json")):
        trained = RunDir(result.parent)
        config = flatten(trained.config())
        rows.append([*(config[key] for key in LEVELS), *(f"{line['val/top1']:.4f}" for line in trained.epochs())])
    with out.open("w", newline="") as file_out:
        csv.writer(file_out, lineterminator="\n").writerows([[*LEVELS, *range(1, EPOCHS + 1)], *rows])
    return {
        "trainings": len(rows),
        "hours": round(seconds / 3600, 2),
        "MB of the process that drives Ray, after each tenth of the runs": [
            round(kb / 1024) for kb in memory[:: max(1, len(memory) // 10)]
        ],
    }


def split_anew(folder: Path) -> Path:
    """Split the styles of these shards into `TRAIN` paintings, `VAL` ones, and the rest."""
    index = read_index(folder)
    rows = index.table.to_pylist()
    for place, row in enumerate(np.random.default_rng(0).permutation(len(rows)).tolist()):
        rows[row]["split_style"] = "train" if place < TRAIN else "val" if place < TRAIN + VAL else "test"
    write_index(folder, rows, index.classes, index.checksums, {})
    return folder


def read_table(file: Path = TABLE) -> Table:
    """The curves of val top-1 by the values of a configuration."""
    with file.open(newline="") as opened:
        header, *rows = csv.reader(opened)
    assert header[: len(LEVELS)] == list(LEVELS), file
    levels = list(LEVELS.values())
    return {
        tuple(type(known[0])(cell) for known, cell in zip(levels, row, strict=False)): [
            float(cell) for cell in row[len(levels) :]
        ]
        for row in rows
    }


def nearest(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """The levels that answer for the values of a configuration; those of `LOGARITHMIC` are compared by their ratio."""
    found = []
    for key, levels in LEVELS.items():
        value = values[key]
        if isinstance(value, str):
            found.append(value)
        else:
            far = (lambda level, value=value: abs(math.log(level / value))) if key in LOGARITHMIC else (
                lambda level, value=value: abs(level - value)
            )  # fmt: skip
            found.append(min(levels, key=far))
    return tuple(found)


def search(folder: Path, table: Table, tune: Mapping[str, Any]) -> tuple[float, int]:
    """Search the table with the real study, one trial at a time. Returns the best val top-1 found and the epochs."""
    fixed = {"task": "style", "data.shards": "/nowhere", "train.epochs": EPOCHS}
    asked = study(folder, tune, fixed=fixed, parameters=SPACE)
    run(asked, lambda trial, epoch: table[nearest(trial.values)][epoch - 1])
    history = asked.history()
    best = max(max(trial.curve) for trial in history.trials)
    return best, history.epochs


def replay(folder: Path, table: Table, repeats: int) -> dict[str, object]:
    """TPE against random search without early stopping, and ASHA against none over the same random configurations."""
    top = max(max(curve) for curve in table.values())
    found: dict[str, list[tuple[float, int]]] = {}  # val top-1 and epochs, of each repeat
    for seed in range(repeats):
        for name, tune in SEARCHES.items():
            one = search(folder / f"{name}-{seed}", table, {**tune, "seed": seed})
            found.setdefault(name, []).append(one)
        print(f"{seed + 1} of {repeats} repeats", file=sys.stderr)
    regret = {name: statistics.median(100 * (top - best) for best, _ in found[name]) for name in ("tpe", "random")}
    mean = {name: statistics.fmean(100 * (top - best) for best, _ in found[name]) for name in ("tpe", "random")}
    return {
        "trainings in the table": len(table),
        "val top-1 of the table in %: best, median": [
            round(100 * top, 1),
            round(100 * statistics.median(max(curve) for curve in table.values()), 1),
        ],
        "repeats": repeats,
        "median regret after 30 trials in points": {name: round(value, 2) for name, value in regret.items()},
        "TPE's over random's (bar 0.7)": round(regret["tpe"] / regret["random"], 2),
        "the same of mean regrets": round(mean["tpe"] / mean["random"], 2),
        **{name: against(found["all"], found[name]) for name in found if name.startswith("ASHA")},
    }


def against(every: Sequence[tuple[float, int]], stopped: Sequence[tuple[float, int]]) -> dict[str, list[float]]:
    """What early stopping loses, and for how many of the epochs: median, mean and worst."""
    lost = [100 * (whole - best) for (whole, _), (best, _) in zip(every, stopped, strict=True)]
    shares = [100 * epochs / whole for (_, whole), (_, epochs) in zip(every, stopped, strict=True)]
    return {
        f"{what}: median, mean, worst": [
            round(each, 2) for each in (statistics.median(values), statistics.fmean(values), max(values))
        ]
        for what, values in (("points below no stopping (bar 1)", lost), ("% of the epochs (bar 40)", shares))
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("what", choices=["record", "replay"])
    parser.add_argument("--table", type=Path, default=TABLE, help="the table to write or to read")
    parser.add_argument("--parallel", type=int, default=2, help="of record: runs at a time")
    parser.add_argument("--repeats", type=int, default=20, help="of replay: searches of each kind")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measured = (
            record(Path(name), args.table, args.parallel)
            if args.what == "record"
            else replay(Path(name), read_table(args.table), args.repeats)
        )
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
