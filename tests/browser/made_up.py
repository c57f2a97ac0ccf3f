"""Made-up data of a report, of any size: what `artnet.analysis.page.html` is called with."""

import random
from typing import Any

TASKS = ("artist", "genre", "style")
HOSTILE = ("</script><script>alert(1)</script>", "\"quotes\" & 'more' <b>", "line\u2028separator", "x" * 200)
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
SEEDS = 3


def grid(models: int = 6, classes: int = 27, epochs: int = 90, hostile: bool = False, seed: int = 0) -> dict[str, Any]:
    """A finished grid of `models` with three seeds each, and one failed run per ten."""
    draw = random.Random(seed)
    labels = [_label(index, hostile) for index in range(models)]
    means = {task: [55 + 3 * draw.random() + (index % 6) for index in range(models)] for task in TASKS}
    runs = [_run(index, label, number, means, draw) for index, label in enumerate(labels) for number in range(SEEDS)]
    return {
        "kind": "grid",
        "name": HOSTILE[0] if hostile else "ablation",
        "made": "2026-11-27T17:00:00+00:00",
        "facts": [
            "27 November 2026",
            f"{len(runs)} runs: {len(runs)} complete",
            "312 GPU-hours",
            "WikiArt, 81,444 paintings",
        ],
        "tasks": list(TASKS),
        "baseline": 0,
        "models": [{"label": label, "values": _values(index)} for index, label in enumerate(labels)],
        "answer": _answer(labels, means, draw),
        "differences": {task: [_difference(index, means[task], draw) for index in range(1, models)] for task in TASKS},
        "factors": [_factor(key, task, draw) for key in ("recurrence", "attention", "recipe") for task in TASKS],
        "cost": [_cost(index, task, means[task][index], draw) for index in range(models) for task in TASKS],
        "classes": {task: _classes(task, models, classes, draw) for task in TASKS},
        "calibration": {task: [_calibration(draw) for _ in range(models)] for task in TASKS},
        "curves": [
            {
                "run": number,
                "model": run["model"],
                "metric": f"{split}/{metric}",
                "x": list(range(1, epochs + 1)),
                "y": y,
            }
            for number, run in enumerate(runs)
            for split, metric in (("val", "top1"), ("train", "loss"))
            for y in [_curve(epochs, metric, draw)]
        ],
        "runs": runs,
        "config": {"base": BASE},
        "reasons": [{"reason": "out of memory on cuda:0 while allocating 2.0 GiB", "count": 2, "runs": [1, 2]}],
        "about": [["runs", ["18 runs in ablation"]], ["code", ["2f0c1d9, clean"]], ["torch", ["2.14.0"]]],
        "thumbnails": {f"{task}/{i}-{k}": PIXEL for task in TASKS for i in range(0, 10, 2) for k in range(12)},
        "method": METHOD,
        "glossary": [
            ["top-1", "share of test paintings whose class is the one with the largest logit"],
            ["seed", "a training"],
        ],
        **({"extra": list(HOSTILE)} if hostile else {}),
    }


def _label(index: int, hostile: bool) -> str:
    if hostile and index < len(HOSTILE):
        return HOSTILE[index]
    recurrence, attention = ("none", "GRU", "LSTM")[index % 3], ("none", "SE", "CBAM")[index // 3 % 3]
    parts = [part for part in (recurrence, attention) if part != "none"]
    return " + ".join(["ResNet50", *parts]) + (f" v{index // 9}" if index >= 9 else "")


def _values(index: int) -> dict[str, str]:
    return {
        "model.recurrence": ("none", "gru", "lstm")[index % 3],
        "model.attention": ("none", "se", "cbam")[index // 3 % 3],
    }


def short(number: float) -> float:
    return float(f"{number:.4g}")


def _run(index: int, label: str, seed: int, means: dict[str, list[float]], draw: random.Random) -> dict[str, Any]:
    return {
        "name": f"{label}_s{seed}-{index:02}{seed}f9a1c7b".replace("/", "-"),
        "model": index,
        "tasks": list(TASKS),
        "seed": seed,
        "state": "complete",
        "reason": "",
        "folder": "",
        "scores": {
            task: {
                "val": short(means[task][index] + draw.gauss(0.5, 0.4)),
                "test": short(means[task][index] + draw.gauss(0, 0.4)),
            }
            for task in TASKS
        },
        "hours": short(1 + draw.random()),
        "device": "NVIDIA H100 80GB",
        "epochs": 90,
        "differs": _values(index) | {"train.seed": seed},
        "log": "epoch 89 val/top1 0.5812\nepoch 90 val/top1 0.5820",
        "git": "2f0c1d9",
        "host": "node-1",
        "memory": "31.2 GiB",
    }


def _answer(labels: list[str], means: dict[str, list[float]], draw: random.Random) -> dict[str, Any]:
    rows, bold = [], []
    for index, label in enumerate(labels):
        cells = [label]
        for task in TASKS:
            mean, gain = means[task][index], means[task][index] - means[task][0]
            cells += [
                f"{mean:.2f} ± 0.31",
                f"{gain:+.2f} ({gain - 1.3:+.2f} to {gain + 1.3:+.2f})" if index else "baseline",
                "3",
            ]
        rows.append(cells)
        best = [means[task][index] > max(means[task]) - 1 for task in TASKS]
        bold.append([False, *(flag for one in best for flag in (one, False, False))])
    sentences = dict.fromkeys(TASKS, f"{labels[-1]} is 5.2 points above {labels[0]} (95 % 3.9 to 6.5, Dunnett).")
    header = ["model", *(title for _ in TASKS for title in ("test top-1, %", "against the baseline", "n"))]
    of = [None, *(task for task in TASKS for _ in range(3))]
    return {"sentences": sentences, "table": {"header": header, "rows": rows, "bold": bold, "task": of}}


def _difference(index: int, means: list[float], draw: random.Random) -> dict[str, Any]:
    mean = means[index] - means[0]
    return {
        "model": index,
        "mean": short(mean),
        "low": short(mean - 1.3),
        "high": short(mean + 1.3),
        "p": 0.004,
        "method": "Dunnett",
        "covers": "trainings",
        "seeds": [short(mean + draw.gauss(0, 0.5)) for _ in range(SEEDS)],
        "published": 2.1 if index == 1 else None,
    }


def _factor(key: str, task: str, draw: random.Random) -> dict[str, Any]:
    mean = draw.uniform(-1, 4)
    effects = [
        {
            "level": level,
            "against": "none",
            "mean": short(mean),
            "low": short(mean - 0.8),
            "high": short(mean + 0.8),
            "pairs": 6,
        }
        for level in (("lstm", "gru") if key == "recurrence" else ("se",))
    ]
    return {"key": f"model.{key}", "task": task, "effects": effects, "kind": "main effect", "of": ""}


def _cost(index: int, task: str, top1: float, draw: random.Random) -> dict[str, Any]:
    return {
        "model": index,
        "task": task,
        "top1": short(top1),
        "low": short(top1 - 0.6),
        "high": short(top1 + 0.6),
        "parameters": 23_500_000 + 1_800_000 * (index % 9),
        "gpu_hours": short(4 + 3 * draw.random()),
        "images_per_s": short(900 + 400 * draw.random()),
        "device": ("NVIDIA H100 80GB", "NVIDIA A100")[index % 2],
        "pareto": False,
    }


def _classes(task: str, models: int, classes: int, draw: random.Random) -> dict[str, Any]:
    names = [f"{task.title()} {'of a long name ' if index % 9 == 0 else ''}{index}" for index in range(classes)]
    support = [draw.randint(30, 3000) for _ in names]
    recall, confusion, commonest = [], [], []
    for _ in range(models):
        matrix = []
        for true in range(classes):
            row = [draw.random() ** 6 for _ in names]
            row[true] = sum(row) * draw.uniform(0.8, 3)
            matrix.append([short(100 * share / sum(row)) for share in row])
        confusion.append(matrix)
        recall.append([[row[i], max(0, row[i] - 4), min(100, row[i] + 4)] for i, row in enumerate(matrix)])
        commonest.append(
            [
                {
                    "true": i,
                    "predicted": (i + 3) % classes,
                    "count": 40 - i,
                    "share": 12.5,
                    "keys": [f"{task}/{i}-{k}" for k in range(12)],
                }
                for i in range(min(10, classes))
            ]
        )
    return {"names": names, "support": support, "recall": recall, "confusion": confusion, "commonest": commonest}


def _calibration(draw: random.Random) -> dict[str, Any]:
    bins = [
        [short(100 * (i + 0.5) / 15), short(max(0, 100 * (i + 0.5) / 15 - 2 * draw.random() * i)), 20 + 30 * i]
        for i in range(15)
    ]
    after = [[x, short(min(100, max(0, x + draw.gauss(0, 2)))), n] for x, _, n in bins]
    return {
        "temperature": short(1.4 + draw.random() / 5),
        "ece": 9.31,
        "ece_after": 1.27,
        "bins": bins,
        "after": after,
    }


def _curve(epochs: int, metric: str, draw: random.Random) -> list[float]:
    top = draw.uniform(52, 62)
    if metric == "top1":
        return [short(top * (1 - 0.8 * 0.93**epoch) + draw.gauss(0, 0.4)) for epoch in range(epochs)]
    return [short(3.2 * 0.96**epoch + draw.gauss(0, 0.02) + 0.4) for epoch in range(epochs)]


BASE = """\
data:
  shards: data/wikiart
  batch: 256
model:
  backbone: resnet50
  recurrence: none
  attention: none
optim:
  lr: 0.1
  weight_decay: 0.0001
task:
- artist
- genre
- style
train:
  epochs: 90
  seed: 0
"""
METHOD = [
    "Test top-1 of each run's best checkpoint on val, once: mean ± sample standard deviation over seeds.",
    "Differences to the baseline: Dunnett's test with the pooled standard deviation over seeds, 95 % for each task.",
]
