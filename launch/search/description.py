"""A search in words, for a dry run: its space, its budget, and how it goes on."""

from collections import Counter

from ..grid.distributions import Distribution
from ..grid.space import shown
from .study import Study

NAMES = {
    "tpe": "TPE", "gp": "a Gaussian process", "cmaes": "CMA-ES", "qmc": "a Sobol sequence", "random": "random draws",
}  # fmt: skip


def described(study: Study) -> list[str]:
    """The lines of a dry run."""
    history, block = study.history(), study.block
    lines = [f"space: {', '.join(map(dimension, study.space.drawn))}"] if study.space.is_drawn else []
    if study.space.is_drawn and block.searcher in ("tpe", "gp", "cmaes"):
        known = f", {len(history.known)} runs known from other sweeps" if history.known else ""
        lines.append(
            f"the first {block.startup} are random, then {NAMES[block.searcher]} chooses from the results, "
            f"which decide what follows{known}"
        )
    elif study.space.is_drawn:
        lines.append(f"configurations from {NAMES[block.searcher]}")
    lines.append(_stopping(study))
    if block.confirm:
        seeds = ", ".join(map(str, block.confirm.seeds))
        lines.append(f"then the best {block.confirm.top} are trained in full with the seeds {seeds}")
    if history.strangers:
        names = ", ".join(history.strangers[:5]) + (", ..." if len(history.strangers) > 5 else "")
        lines.append(f"{len(history.strangers)} runs that were asked for before are not in this space: {names}")
    return lines


def _stopping(study: Study) -> str:
    history = study.history()
    runs = [*study.runs(history), *study.upcoming(history)]
    epochs = max((run.config.train.epochs for run in runs), default=1)
    rules = study.scheduler_for(epochs)
    if rules.kind == "none":
        return "no run is stopped early"
    if rules.kind == "median":
        return f"from epoch {rules.grace} of {epochs}, a run below the median of the others is stopped"
    rungs = Counter(epoch for bracket in range(rules.brackets) for epoch in rules.rungs(bracket))
    if not rungs:
        return f"no run is stopped early: the first rung, epoch {rules.grace}, is not before the last of {epochs}"
    at = ", ".join(map(str, sorted(rungs)))
    return (
        f"{rules.kind}: one run of {rules.reduction} goes on after epoch {at} of {epochs}; the others are stopped early"
    )


def dimension(one: Distribution) -> str:
    """A dimension in words: `optim.lr 0.03 to 1 (log)`."""
    if one.kind == "choice":
        return f"{one.key} {' | '.join(shown(value) for value in one.values)}"
    low, high = (f"{value:g}" for value in one.values[:2])
    more = {"loguniform": " (log)", "quantized": f" in steps of {one.values[-1]:g}"}.get(one.kind, "")
    return f"{one.key} {low} to {high}{more}"
