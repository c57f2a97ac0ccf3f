"""Engine 3: a search with Ray Tune, here or in a job of SLURM. Each trial is an ordinary run directory."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from artnet import config as run_config
from artnet.rundir import RunDir
from shards.errors import UserError
from shards.files import is_url
from shards.index import read_index
from shards.workers import cores

from ..console import say
from ..grid import Expansion, Grid, Run
from ..host.gpus import visible_gpus
from ..machine import MachineBackend, is_left_running
from ..sweep.backend import Launch, Leftovers
from ..sweep.folder import SweepDir, note_state
from ..sweep.plan import STARTS, Decision
from ..sweep.state import ENDED_BADLY, Found, Observation, State
from . import ray_job
from .allocation import Allocation
from .best import show_best
from .board import Board
from .description import described
from .driver import Order
from .opened import OpenSearch
from .share import Share, share
from .supervisor import Supervisor
from .trials import Outcome

NOISE_POINTS = 5.0  # of accuracy, in per cent


class SearchBackend(MachineBackend):
    """Trains the runs of a search under Ray Tune, on this machine or in a job of SLURM on all of its nodes."""

    name = "tune"
    _has = "this machine shows"
    draws = True  # another space draws other runs

    def __init__(
        self,
        overrides: Mapping[str, int | None] | None = None,
        address: str | None = None,
        promote: Sequence[str] = (),
        allocation: Allocation | None = None,
    ) -> None:
        """`address` is that of a Ray cluster to join, `promote` are prefixes of runs that go on after an early stop.

        `allocation` is the job of SLURM in which this process runs the search.
        """
        super().__init__(overrides)
        self._address = address
        self._promote = promote
        self._allocation = allocation

    def configure(self, grid: Grid, everything: Sequence[Run], sets: Sequence[str]) -> None:
        """Check the rest of the grid's `tune:` block. Raises `UserError`, also if a job is at work on the search."""
        self._refuse_second(self._study.sweep)
        self._search.check(everything)

    def _refuse_second(self, sweep: SweepDir) -> None:
        if not self._allocation and (job := ray_job.alive(sweep)):
            raise UserError(f"the search is at work as {job}; --status shows it, --cancel ends it")

    def _size(self) -> tuple[int, int, int]:
        """The CPUs and the GPUs of each node, and how many nodes there are."""
        if self._allocation:
            return self._allocation.cpus, len(self._allocation.gpus()), self._allocation.nodes
        return cores(), len(visible_gpus()), 1

    def _share(self) -> Share:
        return share(self._study.block, *self._size())

    def expand(self, sweep: SweepDir, grid: Grid, sets: Sequence[str], only: Sequence[str]) -> Expansion:
        """The runs that were asked for, and those that will be, as far as they depend on no result."""
        self._search = OpenSearch(sweep, grid, sets, self._overrides)
        self._study, self._sets = self._search.study, sets
        return self._search.expansion(only)

    def ranks(self, run: Run) -> int:
        """One for each GPU of a run that gets several."""
        return self._share().processes

    def check(self, launch: Launch, dry_run: bool) -> None:
        """Check that a run's share of this machine is no more than all of it. Raises `UserError`."""
        block = self._study.block
        if not self._address:
            for key, most in zip(("cpus_per_run", "gpus_per_run"), self._size(), strict=False):
                asked = getattr(block, key)
                if asked is not None and asked > most:
                    where = launch.grid.where("tune", key)
                    raise UserError(f"{where}: tune.{key} {asked:g} is more than {self._has}, {most}; give less")
        self._promoted(launch.sweep)
        if note := noise(launch.grid.metric["name"], launch.everything[0].config):
            say(f"note: {note}")
        if not dry_run:
            launch.sweep.folder.mkdir(parents=True, exist_ok=True)
            self._study.begin()

    def describe(self, launch: Launch) -> list[str]:
        """How the search goes on, and the share of this machine that each run gets."""
        each = self._share()
        where = f"on the cluster at {self._address}" if self._address else self._place()
        resources = f"{where}, {each.runs} at a time, for each run: CPUs: {each.cpus:g}, GPUs: {each.gpus:g}"
        return [*described(self._study), resources]

    def _place(self) -> str:
        return "on this machine"

    def _wanted(self, launch: Launch) -> list[RunDir]:
        """The runs to train first."""
        promoted = self._promoted(launch.sweep)
        for folder in promoted:
            note_state(folder, State.INTERRUPTED, "promoted", promoted=True)
        return [*promoted, *(launch.sweep.run(one.run) for one in self._planned(launch))]

    def start(self, launch: Launch) -> bool:
        """Train the runs of the plan and those that the search asks for. False after Ctrl-C."""
        study, job = self._study, self._allocation
        gpus = job.gpus() if job else visible_gpus()
        ip, (cpus, _, nodes), each = job.address if job else "127.0.0.1", self._size(), self._share()
        wanted = self._wanted(launch)
        asked_before = len(study.reader.asked())

        def order_in(folder: Path, again: bool) -> Order | None:
            history = study.history()
            queue = [one for one in wanted if not again or _goes_on(one)]
            if again:
                queue += [trial.folder for trial in history.all_open if trial.folder not in queue]
            more = None if launch.more is None else max(0, launch.more + asked_before - len(study.reader.asked()))
            # Those of the plan are written down in their turn, as they are asked for.
            unasked = set(self._search.unasked).difference(line.name for line in study.reader.asked())
            names = [one.name for one in queue if one.name not in unasked]
            more = None if more is None else more + len(queue) - len(names)
            if not names and (more == 0 or not study.has_more(history)):
                return None
            return Order(
                grid=launch.grid.file, sets=list(self._sets), block=study.block, sweep=launch.sweep.folder.resolve(),
                queue=names, more=more, share=each, gpus=list(gpus), folder=folder,
                cpus=cpus, ip=ip, nodes=nodes, address=self._address,
            )  # fmt: skip

        board = Board(study, launch.sweep.folder)

        def show(event: dict[str, Any]) -> None:
            if job and "dashboard" in event:
                say(job.publish(event["address"], Path(event["token"]).read_text(), event["dashboard"]))
            else:
                board.show(event)

        supervisor = Supervisor(launch.sweep.folder / "ray.log", show, board.refresh, in_job=job is not None)
        with board:
            finished = supervisor.carry_out(order_in, lambda: [trial.folder for trial in study.history().all_open])
        history = study.history()
        runs = study.runs(history) or launch.everything
        launch.sweep.commit(launch.grid, Expansion([], self._search.arithmetic(history, len(runs))), runs)
        return finished

    def _planned(self, launch: Launch) -> list[Decision]:
        """The decisions to carry out. What is drawn is asked for in its turn, and so not where a part is selected."""
        planned = [one for one in launch.decisions if one.action in STARTS or is_left_running(one)]
        new = [one for one in planned if one.run.config.name in self._search.unasked]
        if not self._study.space.is_drawn:
            self._study.claim([one.run for one in new])
        elif new and len(launch.decisions) < len(launch.everything):
            say(f"note: {len(new)} selected configurations were not asked for yet; a launch without a selection asks")
            planned = [one for one in planned if one not in new]
        return planned

    def _promoted(self, sweep: SweepDir) -> list[RunDir]:
        """The runs that `--promote` names. Raises `UserError` unless each is one that was stopped early."""
        stopped = [trial.folder for trial in self._study.history().trials if trial.outcome is Outcome.STOPPED_EARLY]
        found = []
        for prefix in self._promote:
            chosen = [folder for folder in stopped if folder.name.startswith(prefix)]
            if len(chosen) != 1:
                count = "no run that was stopped early begins" if not chosen else f"{len(chosen)} such runs begin"
                raise UserError(f"--promote {prefix}: {count} with it; --status shows them")
            found += chosen
        return found

    def _begun(self, sweep: SweepDir, name: str, now: Found) -> Found:
        recorded = RunDir(sweep.folder / name).state().state if now.state is State.INTERRUPTED else ""
        return Found(State.PLANNED) if recorded in (State.SUBMITTING, State.PENDING) else now

    def job_lines(self, sweep: SweepDir, fresh: bool) -> list[str]:
        """What `--status` says of a search's job."""
        return job.lines(sweep) if (job := ray_job.alive(sweep, fresh)) else []

    def end_job(self, sweep: SweepDir) -> None:
        """End a search's job."""
        if job := ray_job.alive(sweep):
            job.cancel()

    def leftovers(self, sweep: SweepDir, folders: Sequence[RunDir], found: Mapping[str, Found]) -> Leftovers:
        """Files of jobs that have ended."""
        return {"files of jobs with Ray that have ended": ray_job.unneeded_files(sweep)}

    def find(self, sweep: SweepDir, runs: Sequence[Run], fresh: bool) -> Observation:
        """How runs are found: by their folders, and where they belong to a job, by what SLURM says of it."""
        observed = super().find(sweep, runs, fresh)
        if self._allocation:  # this job: what was submitted with it has not begun
            found = {name: self._begun(sweep, name, now) for name, now in observed.found.items()}
            return Observation(found)
        if not (job := ray_job.alive(sweep, fresh)):
            return observed
        found = job.applied(sweep, observed.found)
        return Observation(found, job.trouble, job.entry is None, job.age_s)

    def conclude(self, launch: Launch, console: Console) -> int:
        """Print which run is the best and write its configuration. Raises `UserError` if no run is complete."""
        history = self._study.history()
        if not show_best(self._study, history, console):
            raise UserError(f"no run of {launch.sweep.folder} is complete; its runs' attempts/*/stderr say why")
        bad = sum(trial.outcome in (Outcome.FAILED, Outcome.UNTRAINABLE) for trial in history.trials)
        if bad:
            console.print(f"{bad} failed or cancelled (--retry resumes them; --status says why)", highlight=False)
        return 0


def noise(metric: str, config: run_config.RunConfig) -> str:
    """A sentence where chance alone makes large differences of accuracy on val; empty where it does not.

    The standard error of a share of n paintings is at most 1 / (2 sqrt(n)), that of a difference sqrt(2) times this;
    one case in twenty is 1.96 of these apart.
    """
    shards = config.data.shards
    if not metric.endswith("top1") or not shards or is_url(shards) or not Path(shards).is_dir():
        return ""
    wanted = config.data
    index = read_index(Path(shards))
    paintings = len(index.select("val", config.task, wanted.labelled, wanted.folds, wanted.fold)[0])
    points = 100 * 1.96 * math.sqrt(0.5 / max(1, paintings))
    if points < NOISE_POINTS:
        return ""
    return f"{metric} is over {paintings} val paintings: two runs may differ by {points:.0f} points by chance"


def _goes_on(folder: RunDir) -> bool:
    """Whether a run of an order that was cut off has not come to its end."""
    state = folder.state()
    is_stopped = state.stopped_epoch is not None and not state.promoted
    return folder.result() is None and not is_stopped and state.state not in ENDED_BADLY
