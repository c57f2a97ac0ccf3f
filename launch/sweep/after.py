"""What the runs of a grid wait for: all runs of the sweeps that its `after` names."""

import functools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from artnet.rundir import MAX_MANIFEST, read_json
from shards.errors import UserError

from ..grid import Grid
from .backend import Engines
from .folder import SweepDir
from .overview import is_well, overview
from .state import ENDED_BADLY, LIVE, Found


@dataclass(frozen=True)
class Wait:
    """What is not complete yet: the `folders` of runs, and the jobs of SLURM that train them, by id.

    `lines` say what the runs wait for, `problem` why they cannot be started yet; empty if they can.
    """

    folders: frozenset[Path] = frozenset()
    jobs: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    problem: str = ""


def wait(grid: Grid, sweep: SweepDir, engines: Engines) -> Wait:
    """What the runs of a grid, to be started by `engines.own`, wait for: only jobs of SLURM can wait, for such jobs.

    Raises `UserError` if `after` names the grid's own folder or one without runs.
    """
    folders: set[Path] = set()
    jobs: list[str] = []
    lines: list[str] = []
    problem = ""
    for earlier in map(SweepDir, grid.after):
        where = grid.where("after")
        if earlier.folder.resolve() == sweep.folder.resolve():
            raise UserError(f"{where}: after: {earlier.folder} is this grid's own folder; name another sweep")
        try:
            found = overview(earlier, functools.partial(engines.find, fresh=False))
        except UserError as error:
            raise UserError(f"{where}: after: {error}") from None
        missing = {path: now for path, now in found.items() if not is_well(now)}
        folders.update(path.resolve() for path in missing)
        if not missing:
            lines.append(f"after {earlier.folder}: its {len(found)} runs are complete")
        elif engines.own.elsewhere and all(now.job and now.state in LIVE for now in missing.values()):
            jobs += [now.job for now in missing.values()]
            lines.append(f"after {earlier.folder}: the runs wait for {len(missing)} of its jobs to end well")
        else:
            lacking = f"{len(missing)} of the {len(found)} runs of {earlier.folder} are not complete"
            problem = problem or (
                f"{where}: after: {lacking} ({_counts(missing)}); {_advice(earlier, engines, missing)}"
            )
    return Wait(frozenset(folders), tuple(jobs), tuple(lines), problem)


def _counts(missing: dict[Path, Found]) -> str:
    counted = Counter(now.state for now in missing.values())
    return ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in counted.items())


def _advice(sweep: SweepDir, engines: Engines, missing: dict[Path, Found]) -> str:
    waiting = [now for now in missing.values() if now.state not in LIVE]
    if not waiting:
        return "wait until they have ended, then run this again"
    engine = next((now.engine for now in waiting if now.engine), engines.own.name)
    grid = read_json(sweep.folder / "manifest.json", MAX_MANIFEST).get("grid", "FILE")
    retry = " --retry" if any(now.state in ENDED_BADLY for now in waiting) else ""
    return f"run python launch/{engine}.py --grid {grid}{retry} first"
