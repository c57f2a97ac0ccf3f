"""The configurations of a search and their metric, read from the sweep's folder. Never ranked on test."""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

from artnet.config.document import read
from shards.errors import UserError

from ... import search_log
from ...search_log import Asked
from ..results import Metric, Run, Sweep, canonical, printable
from ..statistics import Estimate, estimate
from ..summary import value

RANDOM = ("random", "first")  # what a search begins with: chosen without regard to results


@dataclass(frozen=True)
class Trial:
    """A configuration that was asked for, and its run. `values` are those of the keys that were chosen for it.

    `curve` is the metric by epoch, from the first to the one after which the run was stopped, NaN where it is not
    known. `epochs` were trained of the `planned` ones.
    """

    n: int
    run: Run
    values: dict[str, Any]
    searcher: str
    confirms: int | None
    curve: Sequence[float]
    score: float  # NaN if there is none
    epochs: int
    planned: int

    @property
    def is_complete(self) -> bool:
        """Whether the run has a result."""
        return self.run.result is not None

    @property
    def is_stopped_early(self) -> bool:
        """Whether the search has stopped the run."""
        return self.run.state == "stopped_early"


@dataclass(frozen=True)
class Confirmed:
    """A configuration that was trained again over other seeds: `runs` are those that were asked for."""

    trial: Trial
    runs: Sequence[Trial]

    @property
    def score(self) -> float | None:
        """The mean metric over the complete seeds; None if there is none."""
        known = [run.score for run in self.runs if run.is_complete and math.isfinite(run.score)]
        return fmean(known) if known else None

    def test(self, task: str) -> Estimate | None:
        """Test top-1 over the complete seeds, without the run that was chosen on val."""
        scores = [run.run.scores[task].test for run in self.runs if task in run.run.scores]
        return estimate([score.top1 for score in scores], scores[0].n) if scores else None

    @property
    def seeds(self) -> str:
        """The number of complete seeds, and of those asked for if it differs."""
        done = sum(run.is_complete for run in self.runs)
        return str(done) if done == len(self.runs) else f"{done} of {len(self.runs)}"


@dataclass(frozen=True)
class Search:
    """A search: `trials` in the order in which they were asked for, and the runs that are `confirming` some of them.

    `strangers` counts the configurations that an edited grid no longer holds. `known` are the folders of other sweeps
    that the grid names: their finished runs were learnt from, and are not among the trials.
    """

    sweep: Sweep
    trials: Sequence[Trial]
    confirming: Sequence[Trial]
    strangers: int
    known: Sequence[str] = ()

    @property
    def metric(self) -> Metric:
        """What the search improves."""
        return self.sweep.manifest.metric

    @cached_property
    def varied(self) -> list[str]:
        """The keys that were chosen and are not the same in all trials."""
        keys = dict.fromkeys(key for trial in self.trials for key in trial.values)
        return [key for key in keys if len({_spelled(trial.values.get(key)) for trial in self.trials}) > 1]

    @cached_property
    def tasks(self) -> list[str]:
        """The tasks of the runs."""
        return list(dict.fromkeys(task for trial in self.trials for task in trial.run.tasks))

    @cached_property
    def ranked(self) -> list[Trial]:
        """The trials with a finite metric, the best first: complete ones, then those that have only begun.

        What was stopped early is not compared with complete runs: it had fewer epochs. Of equal ones the earlier is
        first.
        """
        sign = -1 if self.metric.goal == "maximize" else 1
        known = [trial for trial in self.trials if math.isfinite(trial.score)]
        return sorted(known, key=lambda trial: (not trial.is_complete, sign * trial.score))

    @property
    def complete(self) -> list[Trial]:
        """The ranked trials that are complete, the best first."""
        return [trial for trial in self.ranked if trial.is_complete]

    @property
    def stopped(self) -> list[Trial]:
        """The trials that were stopped early."""
        return [trial for trial in self.trials if trial.is_stopped_early]

    @property
    def epochs_saved(self) -> int:
        """The planned epochs that early stopping has left out."""
        return sum(max(0, trial.planned - trial.epochs) for trial in self.stopped)

    def best_so_far(self, of: Callable[[Trial], bool] = lambda trial: True) -> list[tuple[int, float]]:
        """The best metric of the complete trials up to each number, of those that `of` selects."""
        better = max if self.metric.goal == "maximize" else min
        found: list[tuple[int, float]] = []
        for trial in sorted(self.complete, key=lambda trial: trial.n):
            if of(trial):
                found.append((trial.n, better(found[-1][1], trial.score) if found else trial.score))
        return found

    @cached_property
    def confirmed(self) -> list[Confirmed]:
        """The configurations with other seeds, the best on val first."""
        groups: dict[int, list[Trial]] = defaultdict(list)
        for trial in self.confirming:
            groups[trial.confirms or 0].append(trial)
        order = {trial.n: place for place, trial in enumerate(self.ranked)}
        known = {trial.n: trial for trial in self.trials}
        return [Confirmed(known[n], groups[n]) for n in sorted(groups, key=lambda n: order.get(n, n)) if n in known]


def is_random(trial: Trial) -> bool:
    """Whether a trial was chosen without regard to results."""
    return trial.searcher in RANDOM


def read_search(sweep: Sweep) -> Search | None:
    """The search that has made a sweep; None for the runs of a grid, and of earlier versions' searches."""
    file = sweep.folder / search_log.NAME
    if not file.exists():
        return None
    known = {planned.signature: run for planned, run in zip(sweep.manifest.runs, sweep.runs, strict=True)}
    lines = search_log.read(file)
    asked = list({line.n: line for line in reversed(lines)}.values())[::-1]
    trials = [_trial(line, known[line.signature], sweep.manifest.metric) for line in asked if line.signature in known]
    return Search(
        sweep,
        [trial for trial in trials if trial.confirms is None],
        [trial for trial in trials if trial.confirms is not None],
        len(asked) - len(trials),
        _known(sweep.folder / "grid.yaml"),
    )


def _known(grid: Path) -> list[str]:
    """The other sweeps that a grid file names; none if it cannot be read."""
    try:
        tune = read(grid, "grid").values.get("tune")
    except UserError:
        return []
    known = tune.get("known") if isinstance(tune, Mapping) else None
    return [printable(folder) for folder in known] if isinstance(known, list) else []


def _trial(line: Asked, run: Run, metric: Metric) -> Trial:
    stopped = run.directory.state().stopped_epoch if run.state == "stopped_early" else None
    by_epoch = {int(epoch["epoch"]): epoch.get(metric.name, math.nan) for epoch in run.directory.epochs()}
    epochs = max(by_epoch, default=0)
    curve = [float(by_epoch.get(epoch, math.nan)) for epoch in range(1, min(epochs, stopped or epochs, 100_000) + 1)]
    values = {key: canonical(key, value) for key, value in line.values.items()}
    planned = run.config.get("train.epochs", epochs)
    score = _score(curve, metric)
    return Trial(line.n, run, values, line.searcher, line.confirms, curve, score, epochs, int(planned))


def _score(curve: Iterable[float], metric: Metric) -> float:
    """The metric of a run so far: its best epoch or its last one, as the grid says; NaN if it is not known."""
    values = list(curve)
    known = [value for value in values if math.isfinite(value)]
    if metric.scope == "last":
        return values[-1] if values and math.isfinite(values[-1]) else math.nan
    return (max if metric.goal == "maximize" else min)(known, default=math.nan)


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last part of each key, as in `lr` for `optim.lr`; the whole key where that names several."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def shown(trial: Trial, key: str) -> str:
    """The value of a key for people; empty where it was not chosen."""
    found = trial.values.get(key, "")
    return f"{found:g}" if isinstance(found, float) else value(found)


def _spelled(of: Any) -> str:
    return json.dumps(of, sort_keys=True)
