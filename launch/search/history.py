"""What has become of a search so far, from its folder alone."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from artnet import search_log
from artnet.config import flatten
from artnet.rundir import MAX_EPOCHS, RunDir
from artnet.search_log import Asked
from shards.errors import UserError

from ..grid.earlier import runs_of
from ..grid.search_space import SearchSpace
from ..sweep.folder import SweepDir
from ..sweep.state import ENDED_BADLY, State
from .scheduler import Curve
from .trials import Outcome, Trial

EARLIER = "random"  # the searcher of versions without search.jsonl


@dataclass(frozen=True)
class History:
    """The trials of a search that its space holds, in the order in which they were asked for.

    `known` are finished runs of other sweeps, `confirming` repeats of trials with other seeds by the trial's number,
    and `strangers` the names of runs that were asked for before the space was edited.
    """

    trials: Sequence[Trial]
    known: Sequence[Trial] = ()
    confirming: Mapping[int, Sequence[Trial]] = field(default_factory=dict)
    strangers: Sequence[str] = ()
    next_n: int = 0

    @cached_property
    def by_name(self) -> Mapping[str, Trial]:
        """The trials by the names of their runs."""
        return {trial.folder.name: trial for trial in self.trials}

    @property
    def learnt_from(self) -> list[Trial]:
        """What a searcher and a scheduler see: the trials and the known runs."""
        return [*self.known, *self.trials]

    @property
    def open(self) -> list[Trial]:
        """The trials that have not come to their end."""
        return [trial for trial in self.trials if trial.outcome is Outcome.OPEN]

    @property
    def all_open(self) -> list[Trial]:
        """The same, with the runs that confirm."""
        confirming = (trial for group in self.confirming.values() for trial in group)
        return [*self.open, *(trial for trial in confirming if trial.outcome is Outcome.OPEN)]

    @property
    def epochs(self) -> int:
        """The epochs that were trained for the trials."""
        return sum(len(trial.curve) for trial in self.trials)

    @property
    def hours(self) -> float:
        """The hours that were trained for the trials, all runs together."""
        return sum(trial.hours for trial in self.trials)


class Reader:
    """Reads the history of a search. What has not changed since it was read is not read again."""

    def __init__(self, sweep: SweepDir, space: SearchSpace, metric: str, known: Sequence[Path] = ()) -> None:
        self.sweep = sweep
        self.space = space
        self.metric = metric
        self.file = sweep.folder / search_log.NAME
        self._known_sweeps = known
        self._curves: dict[Path, tuple[tuple[int, int], Curve, float]] = {}
        self._placed: dict[str, Trial | None] = {}

    def read(self) -> History:
        """The history as it is now."""
        trials, strangers = [], []
        confirming: dict[int, list[Trial]] = {}
        lines = self.asked()
        for asked in lines:
            if asked.signature not in self._placed:
                self._placed[asked.signature] = self._place(asked)
            placed = self._placed[asked.signature]
            if placed is None:
                strangers.append(asked.name or asked.signature)
                continue
            trial = self._now(placed)
            if asked.confirms is None:
                trials.append(trial)
            else:
                confirming.setdefault(asked.confirms, []).append(trial)
        next_n = max((asked.n for asked in lines), default=-1) + 1
        return History(trials, self.known, confirming, strangers, next_n)

    def asked(self) -> list[Asked]:
        """The lines of `search.jsonl`; before there is such a file, the runs that an earlier version has drawn."""
        return search_log.read(self.file) if self.file.exists() else self._drawn_earlier()

    def _drawn_earlier(self) -> list[Asked]:
        try:
            runs = runs_of(self.sweep.folder)
        except UserError:
            return []
        found: list[Asked] = []
        for folder, signature in runs.items():
            with contextlib.suppress(UserError):
                flat = flatten(folder.config())
                if (placed := self.space.place(flat)) is not None:
                    values = {key: flat[key] for key in placed[1]}
                    found.append(
                        Asked(n=len(found), values=values, signature=signature, name=folder.name, searcher=EARLIER)
                    )
        return found

    def _place(self, asked: Asked) -> Trial | None:
        """The trial of a line, before it has begun; None if the space no longer holds it."""
        seed = {"seed": asked.seed} if asked.confirms is not None else {}
        try:
            candidate = self.space.candidate(asked.values | seed)
            placed = self.space.place(candidate.flat)
            run = self.sweep.begun(candidate.run(self.space.grid))
        except (UserError, KeyError):
            return None
        if placed is None or run.config.signature != asked.signature:
            return None
        return Trial(asked.n, *placed, run, asked.signature, self.sweep.run(run), asked.searcher)

    def _now(self, trial: Trial) -> Trial:
        """A trial as it stands now. One whose files are of a newer version says nothing."""
        try:
            outcome, epochs = outcome_of(trial.folder, trial.signature)
        except UserError:
            return replace(trial, outcome=Outcome.FAILED)
        curve, hours = self.curve(trial.folder)
        return replace(trial, outcome=outcome, curve=curve[:epochs], hours=hours)

    @cached_property
    def known(self) -> list[Trial]:
        """The finished runs of other sweeps that are runs of this space, by their signatures."""
        found: dict[str, Trial] = {}
        for sweep in self._known_sweeps:
            for folder, signature in runs_of(sweep).items():
                with contextlib.suppress(UserError):
                    if folder.result(signature) is None:
                        continue
                    placed = self.space.place(flatten(folder.config()))
                    if placed and (run := self.space.run(placed[1])).config.signature == signature:
                        curve, hours = self.curve(folder)
                        new = Trial(
                            -len(found) - 1, *placed, run, signature, folder, "known", Outcome.COMPLETE, curve, hours
                        )  # fmt: skip
                        found.setdefault(signature, new)
        return list(found.values())

    def curve(self, folder: RunDir) -> tuple[Curve, float]:
        """The metric of a run after each epoch from the first, NaN where it is missing, and the hours of training."""
        try:
            status = folder.metrics_file.stat()
        except OSError:
            return (), 0.0
        seen = (status.st_size, status.st_mtime_ns)
        if folder.path not in self._curves or self._curves[folder.path][0] != seen:
            self._curves[folder.path] = (seen, *_curve(folder, self.metric))
        return self._curves[folder.path][1:]


def _curve(folder: RunDir, metric: str) -> tuple[Curve, float]:
    values: dict[int, float] = {}
    seconds = 0.0
    for line in folder.epochs():
        value = float(line.get(metric, math.nan))
        values[line["epoch"]] = value if math.isfinite(value) else math.nan
        seconds = float(line.get("seconds", seconds))
    last = min(max(values, default=0), MAX_EPOCHS)
    return tuple(values.get(epoch, math.nan) for epoch in range(1, last + 1)), seconds / 3600


def outcome_of(folder: RunDir, signature: str) -> tuple[Outcome, int | None]:
    """How a trial stands, and the epoch after which it was stopped."""
    state = folder.state()
    if folder.result(signature) is not None:
        return Outcome.COMPLETE, None
    if state.stopped_epoch is not None and not state.promoted:
        return Outcome.STOPPED_EARLY, state.stopped_epoch
    if state.state == State.OUT_OF_MEMORY or (state.state == State.FAILED and folder.bad_batch_file.exists()):
        return Outcome.UNTRAINABLE, None
    return (Outcome.FAILED if state.state in ENDED_BADLY else Outcome.OPEN), None
