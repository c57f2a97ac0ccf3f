"""A search as a launcher opens it: its study, and the runs of it that are known so far."""

from collections.abc import Mapping, Sequence
from typing import Any

from artnet import config as run_config
from shards.errors import UserError

from ..grid import Expansion, Grid, Run, expand
from ..grid.selection import nothing_selected, selects, terms_of
from ..sweep.folder import SweepDir
from .block import TuneBlock
from .history import History
from .study import Study


class OpenSearch:
    """The search of a grid; `unasked` are the names of the runs that are known, but not asked for yet."""

    def __init__(self, sweep: SweepDir, grid: Grid, sets: Sequence[str], overrides: Mapping[str, Any]) -> None:
        """`overrides` are values of the command line over the grid's `tune:` block. Raises `UserError`."""
        # How many are asked for on the command line replaces what the grid says of it.
        ends = ("trials", "samples", "budget") if any(overrides.get(key) for key in ("trials", "samples")) else ()
        given = {key: value for key, value in grid.tune.items() if key not in ends}
        block = grid.read_block(TuneBlock, "tune", given, overrides)
        self.study = Study(sweep, grid, block, sets)
        self.unasked: list[str] = []
        self._grid, self._sets = grid, sets

    def expansion(self, only: Sequence[str]) -> Expansion:
        """The runs that were asked for, and those that will be, as far as they depend on no result."""
        history = self.study.history()
        upcoming = self.study.upcoming(history)
        self.unasked = [run.config.name for run in upcoming]
        runs = [*self.study.runs(history), *upcoming]
        if not runs:
            raise UserError(f"{self._grid.where('exclude')}: the excludes leave no run; remove one of them")
        chosen = runs
        if only:
            terms = [terms_of(text) for text in only]
            flats = [run_config.flatten(run.config) for run in runs]
            chosen = [run for run, flat in zip(runs, flats, strict=True) if any(selects(one, flat) for one in terms)]
            if not chosen:
                raise UserError(nothing_selected(only, terms, flats))
        return Expansion(chosen, self.arithmetic(history, len(runs)))

    def arithmetic(self, history: History, known: int) -> str:
        """The size of the search in words."""
        if not self.study.space.is_drawn:
            return expand(self._grid, self._sets).arithmetic
        study, points = self.study, len(self.study.space.points)
        per_point = f"{points} points of the lists, " if points > 1 else ""
        if study.count is None:
            budget = study.block.budget
            limit = (
                f"{budget.epochs:,} epochs" if budget and budget.epochs else f"{budget.hours:g} hours" if budget else ""
            )
            return f"{per_point}configurations until {limit} are trained; {len(history.trials)} asked for so far"
        later = study.count + sum(map(len, history.confirming.values())) + len(self._grid.include) - known
        rest = f", {later} of them not chosen yet" if later > 0 else ""
        each = f" ({study.count // points} each, in turn)" if points > 1 and study.count % points == 0 else ""
        return f"{per_point}{study.count} configurations{each}{rest}"

    def check(self, everything: Sequence[Run]) -> None:
        """Check what the `tune:` block says of values and seeds. Raises `UserError`."""
        grid, block, space = self._grid, self.study.block, self.study.space
        check_metric(grid, everything)
        for index, values in enumerate(block.first):
            try:
                space.given(values)
            except UserError as error:
                raise UserError(f"{grid.where('tune', 'first', index)}: tune.first: {error}") from None
        if block.confirm:
            where = grid.where("tune", "confirm")
            if any("seed" in run.values for run in everything):
                raise UserError(f"{where}: tune.confirm trains other seeds, and the grid varies the seed; fix it")
            if used := {run.config.seed for run in everything}.intersection(block.confirm.seeds):
                raise UserError(f"{where}: tune.confirm: seed {min(used)} is that of the search; give others")


def check_metric(loaded: Grid, runs: Sequence[Run]) -> None:
    """Make sure that every run reports the grid's metric. Raises `UserError`."""
    for run in runs:
        scores = ("top1", "top5", "macro_f1", "nll", "ece")
        heads = [f"val/{task}/{score}" for task in run.config.task for score in scores]
        reported = ("val/top1", "val/nll", "train/loss", *heads)
        if loaded.metric["name"] not in reported:
            raise UserError(
                f"{loaded.where('metric', 'name')}: no run reports {loaded.metric['name']!r}; "
                f"{run.config.name} reports {', '.join(reported)}"
            )
