"""A session: a grid with what is selected of it, the folder of its runs, and the engines."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from artnet.formats import check_format
from artnet.rundir import MAX_MANIFEST, read_json
from shards.errors import UserError

from .. import grid
from ..console import say
from ..grid import Expansion, Grid, Run, selection
from ..sweep.backend import Engines
from ..sweep.folder import SweepDir
from ..sweep.state import Observation
from .options import Options


@dataclass(frozen=True)
class Session:
    """A grid of which `everything` is the whole and `expansion` what is selected."""

    options: Options
    grid: Grid
    everything: Expansion
    expansion: Expansion
    sweep: SweepDir
    engines: Engines

    def dropped(self) -> list[Run]:
        """The runs in the sweep's folder that an earlier state of the grid held; empty where runs are drawn."""
        return [] if self.engines.own.draws else self.sweep.dropped(self.everything.runs)

    def observe(self, others: Sequence[Run] = (), fresh: bool = False) -> tuple[list[Run], Observation]:
        """The selected runs, and how they and the `others` are found: see `Backend.find`."""
        observed = self.engines.find(self.sweep, [*self.expansion.runs, *others], fresh)
        wanted = self.options.states
        chosen = [run for run in self.expansion.runs if not wanted or observed.found[run.config.name].state in wanted]
        return chosen, observed


def open_session(options: Options, engines: Engines) -> Session:
    """Read the grid and the selection.

    Raises `UserError` for a wrong grid, for a selection that matches nothing, and for a sweep of a newer version.
    """
    loaded = grid.load(options.grid)
    sweep = SweepDir(options.sweep_root / loaded.name)
    everything = sweep.as_begun(engines.own.expand(sweep, loaded, options.sets, ()))
    part = sweep.as_begun(engines.own.expand(sweep, loaded, options.sets, options.only)) if options.only else everything
    manifest = sweep.folder / "manifest.json"
    check_format(manifest, read_json(manifest, MAX_MANIFEST))
    return Session(options, loaded, everything, selection.by_id(part, options.ids), sweep, engines)


def warn(observed: Observation) -> None:
    """Warn that the scheduler, or a part of it, does not answer."""
    if observed.trouble:
        say(f"warning: SLURM does not answer ({observed.trouble}); what it alone knows is unknown for now")


def check_answer(observed: Observation, done: str) -> None:
    """Raise `UserError` if the state of no job is known: then nothing can be `done`."""
    if observed.is_silent:
        raise UserError(f"SLURM does not answer ({observed.trouble}); nothing was {done}, try again when it does")


def check_environment(grid: Grid) -> None:
    """Make sure that what `env_from` names is set: runs inherit it. Raises `UserError`; no value is ever written."""
    for name in grid.env_from:
        if name not in os.environ:
            raise UserError(f"{grid.where('env_from')}: {name} is not set; export it before launching")


def where(grid: Grid, sets: Sequence[str], key: str) -> str:
    """Where a key of the runs' configurations is given: `FILE:LINE`, or `--set KEY`."""
    if any(entry.partition("=")[0].strip() == key for entry in sets):
        return f"--set {key}"
    position = next((position for stated, position in grid.stated if stated == key), ())
    return grid.where(*position)
