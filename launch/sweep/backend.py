"""The interface of an engine, and the engine that each run belongs to."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console

from artnet.rundir import RunDir
from shards.errors import UserError

from ..grid import Expansion, Grid, Run
from .folder import SweepDir
from .plan import Decision
from .state import LIVE, Found, Observation

Leftovers = dict[str, list[Path]]  # a description of files -> their paths


@dataclass(frozen=True)
class Launch:
    """A launch: the `decisions` about the selected runs of a grid; `everything` is the whole grid.

    `after` are the jobs of SLURM that the runs wait for, by id. `more` is how many runs may be started beside those of
    the decisions, by an engine that chooses runs by itself; None: as many as it wants.
    """

    grid: Grid
    everything: Sequence[Run]
    sweep: SweepDir
    decisions: Sequence[Decision]
    after: Sequence[str] = ()
    more: int | None = None


class Backend(Protocol):
    """An engine: one way to run trainings. `launch/NAME.py` is its door.

    The first group of methods launches runs, the second is about the runs that it has launched.
    """

    name: str  # its name in `state.json`
    is_scheduled: bool  # whether a scheduler runs the jobs, so that a launch ends once they are submitted
    elsewhere: bool  # whether runs may be trained on other machines, which may see other folders
    draws: bool  # whether the runs are drawn, so that other runs in the folder do not mean an edited grid

    def configure(self, grid: Grid, everything: Sequence[Run], sets: Sequence[str]) -> None:
        """Read this engine's block of the grid. Raises `UserError` for what is wrong in it."""

    def expand(self, sweep: SweepDir, grid: Grid, sets: Sequence[str], only: Sequence[str]) -> Expansion:
        """The runs of a grid; those of a search as far as they are known."""

    def ranks(self, run: Run) -> int:
        """The number of processes that train a run together."""

    def check(self, launch: Launch, dry_run: bool) -> None:
        """Print what the user should know before a launch. Raises `UserError` for what would fail.

        With `dry_run`, that this machine lacks the scheduler is printed, not raised.
        """

    def describe(self, launch: Launch) -> list[str]:
        """What each run to start gets of the machine or the cluster, in lines for a dry run."""

    def start(self, launch: Launch) -> bool:
        """Carry out the plan. Returns False if it was stopped on request."""

    def conclude(self, launch: Launch, console: Console) -> int:
        """Print the result of the launch. Returns the exit code of the command."""

    def find(self, sweep: SweepDir, runs: Sequence[Run], fresh: bool) -> Observation:
        """Find the states of runs. `fresh` uses no cached answer, and needs the sweep's lock to be held."""

    def cancel(self, folders: Sequence[RunDir], found: Mapping[str, Found], reason: str) -> None:
        """End runs that are alive, record it and wait until they have ended. Raises `UserError` if one does not."""

    def workers(self, sweep: SweepDir) -> str:
        """The jobs of a sweep that find runs by themselves, in words; empty if there are none."""

    def end_workers(self, sweep: SweepDir) -> None:
        """End these jobs and wait until they have ended. Raises `UserError` if one does not."""

    def log(self, folder: RunDir) -> Path | None:
        """The log of a run's job if the job has started no attempt; else None."""

    def leftovers(self, sweep: SweepDir, folders: Sequence[RunDir], found: Mapping[str, Found]) -> Leftovers:
        """Files beside the runs of a sweep (`folders`, all of them) that no run needs any more."""


@dataclass(frozen=True)
class Engines:
    """The engine of a door, `own`, and the `others`. Each run is observed and ended by the engine it belongs to."""

    own: Backend
    others: Sequence[Backend] = ()

    def of(self, folder: RunDir) -> Backend:
        """The engine that launched a run, according to its `state.json`; the door's own if none did."""
        return self.by_name(folder.state().launcher) or self.own

    def by_name(self, name: str | None) -> Backend | None:
        """The engine of this name; None if there is none."""
        return next((engine for engine in (self.own, *self.others) if engine.name == name), None)

    def find(self, sweep: SweepDir, runs: Sequence[Run], fresh: bool) -> Observation:
        """Find the states of runs, each with its own engine, in the same order."""
        found: dict[str, Found] = {}
        trouble, is_silent, age_s = "", False, 0.0

        def observer(run: Run) -> Backend:
            try:
                return self.of(sweep.run(run))
            except UserError:  # `state.json` is of a newer version, which any engine finds
                return self.own

        for engine, group in _grouped(runs, observer):
            part = engine.find(sweep, group, fresh)
            found |= {name: dataclasses.replace(now, engine=engine.name) for name, now in part.found.items()}
            trouble, is_silent = trouble or part.trouble, is_silent or part.is_silent
            age_s = max(age_s, part.age_s)
        return Observation({run.config.name: found[run.config.name] for run in runs}, trouble, is_silent, age_s)

    def cancel(self, folders: Sequence[RunDir], found: Mapping[str, Found], reason: str) -> list[RunDir]:
        """End the runs that are alive, each with its own engine, and return these. Raises like `Backend.cancel`."""
        living = [folder for folder in folders if found[folder.name].state in LIVE]
        for engine, group in _grouped(living, self.of):
            engine.cancel(group, found, reason)
        return living

    def workers(self, sweep: SweepDir) -> str:
        """The workers of all engines, in words."""
        return ", ".join(filter(None, (engine.workers(sweep) for engine in (self.own, *self.others))))

    def end_workers(self, sweep: SweepDir) -> None:
        """End the workers of all engines."""
        for engine in (self.own, *self.others):
            engine.end_workers(sweep)

    def leftovers(self, sweep: SweepDir, folders: Sequence[RunDir], found: Mapping[str, Found]) -> Leftovers:
        """The leftovers of all engines."""
        merged: Leftovers = {}
        for engine in (self.own, *self.others):
            merged |= engine.leftovers(sweep, folders, found)
        return merged


Item = TypeVar("Item")


def _grouped(items: Sequence[Item], engine_of: Callable[[Item], Backend]) -> list[tuple[Backend, list[Item]]]:
    groups: dict[str, tuple[Backend, list[Item]]] = {}
    for item in items:
        engine = engine_of(item)
        groups.setdefault(engine.name, (engine, []))[1].append(item)
    return list(groups.values())
