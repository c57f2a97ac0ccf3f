"""The page's data of a search: its trials on val, what matters for the best, and test of what was confirmed."""

import math
from collections.abc import Mapping
from typing import Any

from ..search.importance import kinds
from ..search.trials import Confirmed, Search, Trial, is_random, short_names, shown
from ..statistics import Estimate
from ..wording import is_share, state
from .digits import percent, rounded


def search_data(search: Search, importance: Mapping[str, float]) -> dict[str, Any]:
    """All that is shown of a search. A metric that is a share is in per cent."""
    scale = 100 if is_share(search.metric.name) else 1
    positions = {run.name: number for number, run in enumerate(search.sweep.runs)}
    return {
        "metric": search.metric.name,
        "unit": "%" if scale == 100 else "",
        "goal": search.metric.goal,
        "names": short_names(search.varied),
        "trials": [_trial(trial, positions[trial.run.name], scale) for trial in search.trials],
        "ranked": [trial.n for trial in search.ranked],
        "best_so_far": [[n, rounded(scale * best)] for n, best in search.best_so_far()],
        "random_best": [[n, rounded(scale * best)] for n, best in search.best_so_far(is_random)],
        "importance": [[key, percent(share)] for key, share in importance.items()],
        "scales": _scales(search),
        "confirmed": [_confirmed(one, positions, search, scale) for one in search.confirmed],
    }


def _trial(trial: Trial, position: int, scale: float) -> dict[str, Any]:
    return {
        "n": trial.n,
        "run": position,
        "searcher": trial.searcher,
        "state": state(trial.run),
        "epochs": trial.epochs,
        "planned": trial.planned,
        "score": rounded(scale * trial.score),
        "values": {key: _value(trial, key) for key in trial.values},
    }


def _value(trial: Trial, key: str) -> Any:
    found = trial.values[key]
    if isinstance(found, float):
        return rounded(found)
    return found if isinstance(found, bool | int) else shown(trial, key)


def _scales(search: Search) -> dict[str, str]:
    """How the axis of each varied key is drawn, as the grid states its distribution."""
    stated = kinds(search.sweep.folder / "grid.yaml")
    found = {}
    for key in search.varied:
        values = [trial.values[key] for trial in search.trials if key in trial.values]
        is_numeric = all(isinstance(of, int | float) and not isinstance(of, bool) for of in values)
        is_log = stated.get(key) == "loguniform" and is_numeric and min(values) > 0
        found[key] = "log" if is_log else "linear" if is_numeric and key in stated else "category"
    return found


def _confirmed(one: Confirmed, positions: Mapping[str, int], search: Search, scale: float) -> dict[str, Any]:
    mean = one.score
    return {
        "n": one.trial.n,
        "seeds": one.seeds,
        "runs": [positions[run.run.name] for run in one.runs],
        "chosen": rounded(scale * one.trial.score),
        "score": None if mean is None or not math.isfinite(mean) else rounded(scale * mean),
        "test": {task: _estimate(found) for task in search.tasks if (found := one.test(task))},
    }


def _estimate(found: Estimate) -> dict[str, Any]:
    low, high = found.interval or (None, None)
    return {"n": found.n, "mean": percent(found.mean), "low": percent(low), "high": percent(high)}
