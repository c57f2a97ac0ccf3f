"""The best configuration of a search, as a file to train from."""

from rich.console import Console

from artnet import config as run_config
from shards.files import atomic_write

from ..grid.space import shown
from .history import History
from .study import Study
from .trials import Trial


def write_best(study: Study, history: History) -> Trial | None:
    """Write `best.yaml`, the configuration of the best complete run. Returns that trial; None if no run is complete."""
    ranked = study.ranked(history.trials)
    if not ranked:
        return None
    atomic_write(study.sweep.folder / "best.yaml", run_config.dump(ranked[0].run.config))
    return ranked[0]


def show_best(study: Study, history: History, console: Console) -> bool:
    """Write `best.yaml` and print which run it is. Returns False if no run is complete."""
    best, metric = write_best(study, history), study.grid.metric["name"]
    if best is None:
        return False
    score = study.scheduler(history.trials).score(best.curve)
    values = ", ".join(f"{key}={shown(value)}" for key, value in best.run.values.items())
    console.print(f"best: {best.folder.name}, {metric} {score:.4f}: {values}", highlight=False)
    console.print(f"its configuration: {study.sweep.folder / 'best.yaml'}", highlight=False)
    return True
