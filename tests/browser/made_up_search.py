"""Made-up data of a search's report."""

import random
from typing import Any

from tests.browser.made_up import BASE, METHOD, short


def search(trials: int = 200, seed: int = 0) -> dict[str, Any]:
    """A finished search over a logarithmic, a linear and a categorical key."""
    draw = random.Random(seed)
    found = [_trial(number, draw) for number in range(trials)]
    best: list[list[float]] = []
    for trial in found:
        if not best or trial["score"] > best[-1][1]:
            best.append([trial["n"], trial["score"]])
    runs = [_run(trial) for trial in found]
    return {
        "kind": "search",
        "name": "search",
        "made": "2026-11-27T17:00:00+00:00",
        "tasks": ["style"],
        "baseline": 0,
        "facts": [f"{trials} trials", "80 GPU-hours"],
        "models": [{"label": "resnet50", "values": {}}],
        "answer": {
            "sentences": {"style": "The best of 200 configurations has a val top-1 of 60.1 %, not confirmed on test."},
            "table": {"header": [], "rows": [], "bold": []},
        },
        "search": {
            "metric": "val/top1",
            "goal": "maximize",
            "trials": found,
            "best_so_far": best,
            "random_best": [[n, 55 + 4 * (1 - 0.98**n)] for n in range(0, trials, 10)],
            "importance": [["optim.lr", 71.0], ["model.attention", 20.0], ["optim.weight_decay", 9.0]],
            "scales": {"optim.lr": "log", "optim.weight_decay": "linear", "model.attention": "category"},
            "confirmed": [],
        },
        "runs": runs,
        "config": {"base": BASE},
        "reasons": [],
        "method": METHOD,
        "glossary": [["trial", "a configuration"]],
    }


def _trial(number: int, draw: random.Random) -> dict[str, Any]:
    values = {
        "optim.lr": short(10 ** draw.uniform(-4, -1)),
        "optim.weight_decay": short(draw.uniform(0, 0.1)),
        "model.attention": draw.choice(["none", "se", "cbam"]),
    }
    stopped = draw.random() < 0.5
    return {
        "n": number,
        "run": number,
        "searcher": "TPE" if number >= 20 else "random",
        "state": "stopped early" if stopped else "complete",
        "epochs": 9 if stopped else 30,
        "planned": 30,
        "score": short(60 - 8 * abs(values["optim.lr"] - 0.01) ** 0.5 * 3 + draw.gauss(0, 1) - 5 * stopped),
        "values": values,
    }


def _run(trial: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": f"trial-{trial['n']:03}",
        "model": 0,
        "tasks": ["style"],
        "seed": 0,
        "state": trial["state"],
        "reason": "",
        "scores": {"style": {"val": trial["score"], "test": None}},
        "hours": 0.4,
        "device": "H100",
        "epochs": trial["epochs"],
        "differs": trial["values"],
        "log": "",
        "git": "2f0c1d9",
        "host": "n1",
        "memory": "",
    }
