"""Engine 2: runs as jobs of SLURM."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from artnet.rundir import RunDir, read_json
from shards.errors import UserError

from ..console import say
from ..grid import Expansion, Grid, Run, expand
from ..host.gpus import visible_gpus
from ..sweep.attempt import end_processes
from ..sweep.backend import Launch, Leftovers
from ..sweep.folder import SweepDir, note_state
from ..sweep.plan import Action, to_start
from ..sweep.state import ENDED_BADLY, LIVE, Found, Observation, State
from . import job_array, observe, preflight, programs, snapshot, workers
from .resources import Request, Resources, SlurmBlock
from .submit import submit


class ClusterBackend:
    """Submits runs as job arrays to SLURM; with `cluster` `local` or `debug` they run on this machine."""

    name = "slurm"
    is_scheduled = True
    draws = False

    def __init__(
        self, overrides: Mapping[str, Any] | None = None, cluster: str = "slurm", with_snapshot: bool = True
    ) -> None:
        """`overrides` are values of the command line that override the grid's `slurm:` block, ignored if None.

        `with_snapshot`: jobs run a copy of the code as it is now, not the code as it is when they start.
        """
        self._overrides = overrides or {}
        self._cluster, self._with_snapshot = cluster, with_snapshot
        self.elsewhere = cluster == "slurm"
        self._code: Path | None = None
        self._submitted = 0

    def configure(self, grid: Grid, everything: Sequence[Run], sets: Sequence[str]) -> None:
        """Read the `slurm:` block. Raises `UserError` for what is wrong in it."""
        self._block = grid.read_block(SlurmBlock, "slurm", grid.slurm, self._overrides)
        self._request = Request(grid, self._block, self._overrides, os.environ)
        if not sets:
            self._request.check_matches(everything)
        self._wanted: dict[str, Resources] = {run.config.name: self._request.of(run) for run in everything}
        for resources, run in self._distinct(everything).items():
            if 0 < resources.gpus_per_node < resources.ranks_per_node:
                raise UserError(
                    f"{self._request.where(run, 'tasks_per_node')}: tasks_per_node {resources.ranks_per_node} is more "
                    f"than gpus_per_node {resources.gpus_per_node}, but each rank needs a GPU; make them equal"
                )

    def _distinct(self, runs: Sequence[Run]) -> dict[Resources, Run]:
        """The different resources of these runs, each with the first run that has them."""
        return {self._wanted[run.config.name]: run for run in reversed(runs)}

    def expand(self, sweep: SweepDir, grid: Grid, sets: Sequence[str], only: Sequence[str]) -> Expansion:
        """The runs of a grid."""
        return expand(grid, sets, only)

    def ranks(self, run: Run) -> int:
        """The number of processes that train a run together, on all of its nodes."""
        asked = self._wanted[run.config.name]
        return asked.nodes * asked.ranks_per_node

    def check(self, launch: Launch, dry_run: bool) -> None:
        """Check the jobs, print warnings and the estimated cost, and take the snapshot of the code.

        Raises `UserError` with all problems, and if the work tree holds more than code.
        """
        starting = self._starting(launch)
        self._check_gpus(starting)
        if self._cluster != "slurm" and launch.grid.on_end and starting:
            say(f"note: {launch.grid.where('on_end')}: on_end is run by a job of SLURM at the end, and here is none")
        if self._cluster == "slurm" and not shutil.which("sbatch"):
            no_slurm = f"no sbatch on this machine; without SLURM use: python launch/local.py --grid {launch.grid.file}"
            if not dry_run:
                raise UserError(no_slurm)
            return say(f"note: {no_slurm}")
        if self._cluster == "slurm":
            self._check_jobs(launch, starting)
        if self._with_snapshot and starting and not dry_run:
            self._code = snapshot.take(launch.sweep.code, launch.sweep.folder.parent)
        return None

    def _starting(self, launch: Launch) -> list[Run]:
        """The runs that need jobs."""
        return [decision.run for decision in to_start(launch.decisions)]

    def describe(self, launch: Launch) -> list[str]:
        """The resources of the jobs, and the options that come too late for jobs that are submitted already."""
        chosen = Counter(self._wanted[decision.run.config.name] for decision in to_start(launch.decisions))
        lines = [f"{count} job{'s' * (count > 1)}: {asked.in_words}" for asked, count in chosen.items()]
        given = [f"--{key.replace('_', '-')}" for key, value in self._overrides.items() if value not in (None, [])]
        kept = [d for d in launch.decisions if d.action is Action.LEAVE and d.state in LIVE]
        left = [decision for decision in kept if decision.found.engine == self.name]
        if given and left:
            runs = "1 run that is" if len(left) == 1 else f"{len(left)} runs that are"
            lines.append(f"{', '.join(given)}: without effect on {runs} submitted already")
        return lines

    def _check_gpus(self, runs: Sequence[Run]) -> None:
        for resources, run in self._distinct(runs).items():
            asked, ranks = resources.gpus_per_node, resources.ranks_per_node
            where = self._request.where(run, "gpus_per_node")
            if asked > ranks:
                say(f"warning: {where}: gpus_per_node {asked}, but {ranks} of them in use: tasks_per_node is {ranks}")
            if asked and self._cluster != "slurm":
                shown = len(visible_gpus())
                if not shown:
                    say(f"warning: {where}: gpus_per_node {asked}, but this machine has no GPU; the runs train on CPUs")
                elif asked > shown:
                    raise UserError(
                        f"{where}: gpus_per_node {asked} is more than this machine shows, {shown}; ask for less"
                    )

    def _check_jobs(self, launch: Launch, chosen: Sequence[Run]) -> None:
        decisions, sweep = launch.decisions, launch.sweep
        new = [decision.run for decision in decisions if decision.action in (Action.START, Action.FROM_SCRATCH)]
        found = preflight.check(self._request, chosen, new, sweep.folder)
        for warning in found.warnings:
            say(f"warning: {warning}")
        if found.problems:
            raise UserError("\nerror: ".join(found.problems))

    def start(self, launch: Launch) -> bool:
        """Submit the runs that the plan starts. Raises `UserError` with SLURM's message if it refuses."""
        self._submitted = submit(
            launch.sweep, self._block, self._wanted, launch.decisions, self._code, self._cluster, launch.after
        )
        return True

    def conclude(self, launch: Launch, console: Console) -> int:
        """Returns the exit code: 1 if runs have ended badly and are left."""
        if self._submitted:
            jobs = f"{self._submitted} job{'s' * (self._submitted > 1)}"
            console.print(f"submitted {jobs}; --status or --watch shows where they are", highlight=False)
        return int(any(d.action is Action.LEAVE and d.state in ENDED_BADLY for d in launch.decisions))

    def find(self, sweep: SweepDir, runs: Sequence[Run], fresh: bool) -> Observation:
        """Find the states of runs, querying SLURM about their jobs; `state.json` records a fresh answer."""
        observed = observe.find(sweep, runs, fresh)
        if fresh and not observed.is_silent:
            observe.note(sweep, runs, observed)
        return observed

    def cancel(self, folders: Sequence[RunDir], found: Mapping[str, Found], reason: str) -> None:
        """End the jobs of runs with scancel, or with a signal those that are processes on this machine.

        The worker of a search goes on with another run.
        """
        served = workers.of_workers(folders)
        workers.take_away(served, found, reason)
        folders = [folder for folder in folders if folder not in served]
        jobs = {folder.name: job for folder in folders if (job := found[folder.name].job)}
        others = [folder for folder in folders if folder.name not in jobs]
        if jobs:
            programs.cancel(list(jobs.values()))
        for folder in others:  # before their processes end: a job does not start a cancelled run
            note_state(folder, State.CANCELLED, reason, cancelled=time.time())
        end_processes(others)
        programs.wait_for(list(jobs.values()))
        for folder in folders:  # last: SLURM is not queried about cancelled runs
            note_state(folder, State.CANCELLED, reason, cancelled=time.time())

    def job_lines(self, sweep: SweepDir, fresh: bool) -> list[str]:
        """The workers of a search that are alive. Raises `UserError` if SLURM does not answer."""
        words = workers.in_words(workers.living(sweep))
        return [words] if words else []

    def end_job(self, sweep: SweepDir) -> None:
        """End all workers of a search. Raises `UserError` if one does not end."""
        workers.end(sweep, workers.living(sweep))

    def log(self, folder: RunDir) -> Path | None:
        """The log of the run's job, if the job has started no attempt."""
        state, jobs = folder.state(), folder.path.parent / "slurm"
        log = jobs / f"{state.job}.log"
        array = read_json(jobs / f"{state.job_name}.json")
        try:
            first = int(array["attempts"][state.position])
        except (KeyError, IndexError, TypeError, ValueError, OverflowError):
            first = 1
        has_attempt = any(int(path.name) >= first for path in folder.attempts.glob("[0-9]*") if path.name.isdecimal())
        return log if log.exists() and not has_attempt else None

    def leftovers(self, sweep: SweepDir, folders: Sequence[RunDir], found: Mapping[str, Found]) -> Leftovers:
        """Files of jobs that only complete runs needed, and snapshots of the code if no run is alive."""
        at_work = [job.id for job in workers.living(sweep)]
        kinds = {"files of jobs of complete runs": job_array.unneeded_files(sweep.folder, folders, found, at_work)}
        if not at_work and not any(now.state in LIVE for now in found.values()):
            kinds["copies of the code of jobs that have ended"] = snapshot.all_in(sweep.code)
        return kinds
