"""How much each key of a search matters for the best of its results."""

import math
import warnings
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from artnet.config.document import read
from shards.errors import UserError

from .trials import Search, Trial, shown

FEWEST = 30  # complete trials, below which importance says little
FEWEST_BEST = 5  # trials in the group of the best, as Optuna advises
SHARE_OF_BEST = 0.1  # of the trials, its size where there are many


def importance(search: Search) -> dict[str, float]:
    """The share of each varied key in what the best trials have in common, the largest first; they sum to 1.

    This is PED-ANOVA (Watanabe et al., IJCAI 2023) as in Optuna: how far the distribution of a key among the best
    tenth of the trials, at least five, is from that among all. Trials that were stopped early count as worse than all
    complete ones; failed ones are left out. Empty if fewer than two trials are complete.
    """
    keys, losses = search.varied, _losses(search)
    if len(search.complete) < 2 or not keys:
        return {}
    import optuna  # here, because it takes a while
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="minimize")
    stated = kinds(search.sweep.folder / "grid.yaml")
    spaces = {key: _distribution(key, stated.get(key), search) for key in keys}
    for trial, loss in losses:
        own = {key: space for key, space in spaces.items() if key in trial.values}
        values = {key: _internal(trial, key, space) for key, space in own.items()}
        study.add_trial(create_trial(params=values, distributions=own, value=loss))
    best = max(SHARE_OF_BEST, min(0.5, FEWEST_BEST / len(losses)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=best)))


def _losses(search: Search) -> list[tuple[Trial, float]]:
    """The trials with what is to be made small. Only its order matters."""
    sign = -1 if search.metric.goal == "maximize" else 1
    complete = [(trial, sign * trial.score) for trial in search.complete]
    stopped = [(trial, sign * trial.score) for trial in search.stopped if math.isfinite(trial.score)]
    worst = max((loss for _, loss in complete), default=0.0)
    best = min((loss for _, loss in stopped), default=0.0)
    return complete + [(trial, worst + 1 + loss - best) for trial, loss in stopped]


def _distribution(key: str, kind: str | None, search: Search) -> Any:
    """The distribution of a key: of the `kind` that the grid states, between the values that were tried."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    tried = [trial.values[key] for trial in search.trials if key in trial.values]
    if kind is None or not all(_is_number(one) for one in tried):
        return CategoricalDistribution(sorted({shown(trial, key) for trial in search.trials if key in trial.values}))
    return FloatDistribution(min(tried), max(tried), log=kind == "loguniform" and min(tried) > 0)


def _internal(trial: Trial, key: str, space: Any) -> Any:
    return float(trial.values[key]) if hasattr(space, "log") else shown(trial, key)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def kinds(grid: Path) -> dict[str, str]:
    """The kinds of the distributions of numbers in a grid file, by key; none if it cannot be read."""
    try:
        content = read(grid, "grid").values
    except UserError:
        return {}
    conditionals = content.get("conditional")
    parts = [content, *(conditionals if isinstance(conditionals, list) else [])]
    blocks = [part.get("parameters") for part in parts if isinstance(part, Mapping)]
    return {key: kind for block in blocks if isinstance(block, Mapping) for key, kind in _kinds(block, "")}


def _kinds(block: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """The keys and kinds in a mapping, whose keys may be dotted or nested."""
    for name, content in block.items():
        key = f"{prefix}{name}"
        if isinstance(content, Mapping):
            numeric = [kind for kind in ("uniform", "loguniform", "quantized", "randint") if kind in content]
            yield from ((key, kind) for kind in numeric)
            if not numeric:
                yield from _kinds(content, f"{key}.")
