"""Engine 3: a search with Ray Tune, on this machine. Each trial is an ordinary run in an ordinary run directory."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

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
from ..sweep.backend import Launch
from ..sweep.folder import SweepDir, note_state
from ..sweep.plan import STARTS, Decision
from ..sweep.state import ENDED_BADLY, State
from .best import show_best
from .board import Board
from .description import described
from .driver import Order
from .opened import OpenSearch
from .share import share
from .supervisor import Supervisor
from .trials import Outcome

NOISE_POINTS = 5.0  # of accuracy, in per cent


class SearchBackend(MachineBackend):
    """Trains the runs of a search on this machine under Ray Tune."""

    name = "tune"
    draws = True  # another space draws other runs

    def __init__(
        self, overrides: Mapping[str, int | None] | None = None, address: str | None = None, promote: Sequence[str] = ()
    ) -> None:
        """`address` is that of a Ray cluster to join, `promote` are prefixes of runs that go on after an early stop."""
        super().__init__(overrides)
        self._address = address
        self._promote = promote

    def configure(self, grid: Grid, everything: Sequence[Run], sets: Sequence[str]) -> None:
        """Check the rest of the grid's `tune:` block. Raises `UserError`."""
        self._search.check(everything)

    def expand(self, sweep: SweepDir, grid: Grid, sets: Sequence[str], only: Sequence[str]) -> Expansion:
        """The runs that were asked for, and those that will be, as far as they depend on no result."""
        self._search = OpenSearch(sweep, grid, sets, self._overrides)
        self._study, self._sets = self._search.study, sets
        return self._search.expansion(only)

    def ranks(self, run: Run) -> int:
        """One for each GPU of a run that gets several."""
        return share(self._study.block, cores(), len(visible_gpus())).processes

    def check(self, launch: Launch, dry_run: bool) -> None:
        """Check that a run's share of this machine is no more than all of it. Raises `UserError`."""
        block = self._study.block
        if not self._address:
            has = {"cpus_per_run": cores(), "gpus_per_run": len(visible_gpus())}
            for key, most in has.items():
                asked = getattr(block, key)
                if asked is not None and asked > most:
                    where = launch.grid.where("tune", key)
                    raise UserError(f"{where}: tune.{key} {asked:g} is more than this machine shows, {most}; give less")
        self._promoted(launch.sweep)
        if note := noise(launch.grid.metric["name"], launch.everything[0].config):
            say(f"note: {note}")
        if not dry_run:
            launch.sweep.folder.mkdir(parents=True, exist_ok=True)
            self._study.begin()

    def describe(self, launch: Launch) -> list[str]:
        """How the search goes on, and the share of this machine that each run gets."""
        each = share(self._study.block, cores(), len(visible_gpus()))
        where = f"on the cluster at {self._address}" if self._address else "on this machine"
        resources = f"{where}, {each.runs} at a time, for each run: CPUs: {each.cpus:g}, GPUs: {each.gpus:g}"
        return [*described(self._study), resources]

    def start(self, launch: Launch) -> bool:
        """Train the runs of the plan and those that the search asks for. False after Ctrl-C."""
        study, gpus = self._study, visible_gpus()
        promoted = self._promoted(launch.sweep)
        for folder in promoted:
            note_state(folder, State.INTERRUPTED, "promoted", promoted=True)
        planned = self._planned(launch)
        wanted = [*promoted, *(launch.sweep.run(one.run) for one in planned)]
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
                queue=names, more=more, share=share(study.block, cores(), len(gpus)), gpus=list(gpus), folder=folder,
                address=self._address,
            )  # fmt: skip

        board = Board(study, launch.sweep.folder)
        supervisor = Supervisor(launch.sweep.folder / "ray.log", board.show, board.refresh)
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
