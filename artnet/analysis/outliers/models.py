"""Which runs of a folder to ask: a run alone, or the seeds, and folds, of a sweep's best model."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from shards.errors import UserError
from shards.tasks import in_order

from ...config import RunConfig
from ...rundir import RunDir
from ..results import MANIFEST_NAME, Run, read_sweep

_REPEATED = ("seed", "task", "data.fold")  # runs that differ in these alone are of one model


@dataclass(frozen=True)
class Model:
    """Complete runs that differ only in seed and fold, with their configurations. `left_out` other models are not."""

    task: str
    runs: list[RunDir]
    configs: list[RunConfig]
    left_out: int = 0

    @property
    def parts(self) -> list[str]:
        """What each run's test split is a part of: a fold, if there are several; else empty."""
        folds = {config.data.fold for config in self.configs}
        return [f"fold {config.data.fold}" if len(folds) > 1 else "" for config in self.configs]


def models(folder: Path) -> list[Model]:
    """The model to ask for each task: the folder's run, or the complete model of its sweep that is best on val.

    Raises `UserError` if the folder holds neither, the run is not complete, or no model of a task is.
    """
    if not (folder / MANIFEST_NAME).exists() and (folder / "config.yaml").exists():
        run = RunDir(folder)
        config = run.config()
        if run.result(config.signature) is None:
            raise UserError(f"{folder} is not complete ({run.lost_result}); train it to its end, or give another run")
        return [Model(task, [run], [config]) for task in config.task]
    runs = read_sweep(folder).runs
    return [_best(folder, runs, task) for task in in_order(task for run in runs for task in run.tasks)]


def _best(folder: Path, runs: Sequence[Run], task: str) -> Model:
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if task in run.tasks:
            same = {key: value for key, value in run.values.items() if key not in _REPEATED}
            groups[json.dumps([same, run.tasks if len(run.tasks) > 1 else ()], sort_keys=True)].append(run)
    complete = [group for group in groups.values() if all(run.result for run in group)]
    if not complete:
        run = next(run for group in groups.values() for run in group if not run.result)
        raise UserError(
            f"{folder} has no model of {task} whose runs are all complete: {run.name} is {run.state}"
            f"{f' ({run.reason})' if run.reason else ''}; start its grid again, or give one complete run"
        )
    best = max(complete, key=lambda group: fmean(run.scores[task].val.top1 for run in group))
    directories = [run.directory for run in best]
    return Model(task, directories, [one.config() for one in directories], len(groups) - len(complete))
