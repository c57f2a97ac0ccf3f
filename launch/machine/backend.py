"""The engine of this machine: what a grid asks of it, and how its runs are started, found and cancelled."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from artnet.rundir import RunDir
from shards.errors import UserError

from ..grid import Expansion, Grid, Run, expand
from ..host.gpu_locks import GpuLocks
from ..host.gpus import MIG, visible_gpus
from ..host.signals import handled
from ..host.slots import slots
from ..sweep.attempt import end_processes
from ..sweep.backend import Launch, Leftovers
from ..sweep.folder import SweepDir, find_run, note_state
from ..sweep.plan import to_start
from ..sweep.state import ENDED_WELL, Found, Observation, State
from .pool import Pool, is_left_running, progress_bars


class LocalBlock(BaseModel):
    """The grid's `local:` block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_parallel: int | None = Field(
        None, ge=1, description="runs at a time; default: as many as the GPUs allow, else 1"
    )
    processes: int = Field(1, ge=1, description="ranks of a run: one GPU each, or a share of the cores")
    runs_per_gpu: int = Field(1, ge=1, description="runs at a time on one GPU, for small runs; needs processes: 1")


class MachineBackend:
    """Trains runs on this machine and waits until they have ended."""

    name = "local"
    is_scheduled = False
    elsewhere = False
    draws = False

    def __init__(self, overrides: Mapping[str, int | None] | None = None) -> None:
        """`overrides` are the values of the command line, over the grid's `local:` block; None: not given."""
        self._overrides = overrides or {}

    def configure(self, grid: Grid, everything: Sequence[Run], sets: Sequence[str]) -> None:
        """Read the `local:` block. Raises `UserError` for what is wrong in it."""
        self._block = grid.read_block(LocalBlock, "local", grid.local, self._overrides)
        if self._block.processes > 1 and self._block.runs_per_gpu > 1:
            where = self._where(grid, "runs_per_gpu")
            raise UserError(f"{where}: local.runs_per_gpu is for runs of one process; leave it out, or processes")

    def expand(self, sweep: SweepDir, grid: Grid, sets: Sequence[str], only: Sequence[str]) -> Expansion:
        """The runs of a grid."""
        return expand(grid, sets, only)

    def ranks(self, run: Run) -> int:
        """The number of processes that train a run together."""
        return self._block.processes

    def check(self, launch: Launch, dry_run: bool) -> None:
        """Check that there is a GPU for each rank, where there are GPUs. Raises `UserError`."""
        gpus, wanted = visible_gpus(), self._block.processes
        if not gpus or wanted == 1 or not to_start(launch.decisions):
            return
        where = self._where(launch.grid, "processes")
        if gpus[0].startswith(MIG):
            raise UserError(f"{where}: local.processes {wanted}, but a process can use one MIG slice only; give 1")
        if wanted > len(gpus):
            shown = "1 GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"
            raise UserError(
                f"{where}: local.processes {wanted} needs {wanted} GPUs, one for each rank, and this machine shows "
                f"{shown}; give fewer processes"
            )

    def describe(self, launch: Launch) -> list[str]:
        """How many runs at a time, and on what each; and the option that comes too late for runs that go on."""
        total, running = len(to_start(launch.decisions)), sum(map(is_left_running, launch.decisions))
        late = []
        if running and self._overrides.get("processes") is not None:
            late.append(f"--processes: without effect on {running} run{'s' * (running > 1)} running already")
        if not total:
            return late
        block = self._block
        places = slots(visible_gpus(), block.processes, block.max_parallel, block.runs_per_gpu)
        at_a_time, first = min(total, len(places)), places[0]
        return [
            f"on this machine, {at_a_time} at a time, for each run: processes: {block.processes}, "
            f"GPUs: {len(first.gpus)}, CPU threads a process: {first.threads}",
            *late,
        ]

    def _where(self, grid: Grid, key: str) -> str:
        """Where a key of the block is given: `FILE:LINE`, or an option."""
        return f"--{key.replace('_', '-')}" if self._overrides.get(key) is not None else grid.where("local", key)

    def start(self, launch: Launch) -> bool:
        """Train the runs of the plan, and wait for those that an earlier launcher left running. False after Ctrl-C."""
        total = len(to_start(launch.decisions))
        if not total and not any(map(is_left_running, launch.decisions)):
            return True
        with progress_bars(Console(stderr=True)) as bars:
            block = self._block
            places = slots(visible_gpus(), block.processes, block.max_parallel, block.runs_per_gpu)
            pool = Pool(launch.sweep, places, block.processes, bars, total, gpu_locks=GpuLocks(block.runs_per_gpu))
            with handled(pool.stop):
                pool.carry_out(launch.decisions)
        return not pool.stopping

    def conclude(self, launch: Launch, console: Console) -> int:
        """Returns the exit code: 0 if all runs are complete, 1 if not."""
        runs = [decision.run for decision in launch.decisions]
        found = self.find(launch.sweep, runs, fresh=True).found.values()
        return 0 if all(now.state in ENDED_WELL for now in found) else 1

    def find(self, sweep: SweepDir, runs: Sequence[Run], fresh: bool) -> Observation:
        """How runs are found, by their folders alone."""
        return Observation({run.config.name: find_run(sweep.run(run), run.config.signature) for run in runs})

    def cancel(self, folders: Sequence[RunDir], found: Mapping[str, Found], reason: str) -> None:
        """End the processes that train these runs, and note it before, so that no launcher resumes them."""
        for folder in folders:
            note_state(folder, State.CANCELLED, reason, cancelled=time.time())
        end_processes(folders)
        for folder in folders:
            note_state(folder, State.CANCELLED, reason, cancelled=time.time())

    def job_lines(self, sweep: SweepDir, fresh: bool) -> list[str]:
        """Nothing: a launcher starts all runs."""
        return []

    def end_job(self, sweep: SweepDir) -> None:
        """Nothing, as above."""

    def log(self, folder: RunDir) -> Path | None:
        """None: all logs are in the attempts of the run."""
        return None

    def leftovers(self, sweep: SweepDir, folders: Sequence[RunDir], found: Mapping[str, Found]) -> Leftovers:
        """Nothing: all files are in the folders of the runs."""
        return {}
