"""Engine 2 for a search: an array of workers, each of which trains one run after another."""

from collections.abc import Sequence

from rich.console import Console

from shards.errors import UserError

from ..cluster import workers
from ..cluster.backend import ClusterBackend
from ..cluster.resources import Resources
from ..cluster.submit import submit_workers
from ..console import say
from ..grid import Expansion, Grid, Run
from ..sweep.backend import Launch
from ..sweep.folder import SweepDir
from ..sweep.plan import STARTS, to_start
from ..sweep.state import LIVE, State
from .best import show_best
from .claims import release, unfinished
from .description import described
from .opened import OpenSearch
from .spec import Spec
from .tuner import noise

WORKERS = 8  # unless the grid or the command line says how many
PLENTY = 1_000_000


class WorkersBackend(ClusterBackend):
    """Submits the workers of a search to SLURM; with `cluster` `local` they run on this machine."""

    draws = True

    def configure(self, grid: Grid, everything: Sequence[Run], sets: Sequence[str]) -> None:
        """Read the `slurm:` block and check the rest of the `tune:` block. Raises `UserError`."""
        super().configure(grid, everything, sets)
        self._search.check(everything)
        self._sets = sets
        if self._block.overrides:
            where = grid.where("slurm", "overrides", 0)
            raise UserError(f"{where}: slurm.overrides: each worker of a search trains any of its runs; leave them out")
        if self._cluster == "debug":
            raise UserError("--cluster debug: a search has workers beside this process; give local")

    def expand(self, sweep: SweepDir, grid: Grid, sets: Sequence[str], only: Sequence[str]) -> Expansion:
        """The runs that were asked for, and those that will be, as far as they depend on no result."""
        self._search = OpenSearch(sweep, grid, sets, {})
        return self._search.expansion(only)

    def check(self, launch: Launch, dry_run: bool) -> None:
        """Check the workers' jobs, and take the snapshot of the code. Raises `UserError`."""
        super().check(launch, dry_run)
        if note := noise(launch.grid.metric["name"], launch.everything[0].config):
            say(f"note: {note}")
        if not dry_run:
            launch.sweep.folder.mkdir(parents=True, exist_ok=True)
            self._search.study.begin()

    def _starting(self, launch: Launch) -> list[Run]:
        """The runs to start. What is chosen from results is not known yet: then any run stands for it."""
        chosen = super()._starting(launch)
        return chosen or [*launch.everything[:1]] * bool(self._left(launch))

    def describe(self, launch: Launch) -> list[str]:
        """How the search goes on, and the resources of its workers."""
        count = min(self._parallel, self._left(launch))
        each = [f"{count} worker{'s' * (count > 1)}: {self._resources(launch).in_words}"] if count else []
        return [*described(self._search.study), *each]

    @property
    def _parallel(self) -> int:
        """How many workers there are at most."""
        if "max_parallel" in self._block.model_fields_set:
            return self._block.max_parallel
        return self._search.study.block.max_parallel or WORKERS

    def _resources(self, launch: Launch) -> Resources:
        return self._wanted[launch.everything[0].config.name]

    def _asks(self, launch: Launch) -> int | None:
        """How many runs may be asked for in this launch; None: as many as the search wants."""
        if launch.more is None:
            return None
        unasked = [one for one in to_start(launch.decisions) if one.run.config.name in self._search.unasked]
        return launch.more + len(unasked) if len(launch.decisions) == len(launch.everything) else 0

    def _left(self, launch: Launch) -> int:
        """How many runs there are to train, those that are being trained too; `PLENTY` if results decide that."""
        study, history = self._search.study, self._search.study.history()
        begun = [one for one in launch.decisions if one.run.config.name not in self._search.unasked]
        count = sum(one in to_start(begun) or one.state in LIVE for one in begun)
        asks = 0
        if not study.is_spent(history) and study.propose(history) is not None:
            asks = PLENTY if study.count is None else study.count - len(history.trials)
        elif not count:
            asks = len(study.confirm(history))
        allowed = self._asks(launch)
        return count + (asks if allowed is None else min(asks, allowed))

    def start(self, launch: Launch) -> bool:
        """Submit the workers that are missing. Raises `UserError` with SLURM's message if it refuses."""
        left, alive = self._left(launch), len(workers.living(launch.sweep))
        for decision in to_start(launch.decisions):
            if decision.state is not State.PLANNED:
                folder = launch.sweep.run(decision.run)
                release(folder, State.INTERRUPTED, "to be resumed", launcher="slurm", cancelled=None)
        if not alive or len(launch.decisions) == len(launch.everything):  # else they find what is selected
            self._write_spec(launch)
        self._submitted = 0
        if (missing := min(self._parallel, left) - alive) > 0:
            self._submitted = submit_workers(
                launch.sweep, self._block, self._resources(launch), missing, self._code, self._cluster, launch.after
            )
        return True

    def _write_spec(self, launch: Launch) -> None:
        """Write down what the workers are to do; what this launch does not select is left alone."""
        study, asks = self._search.study, self._asks(launch)
        until = None if asks is None else len(study.reader.asked()) + asks
        held: list[str] = []
        if launch.more is not None:
            known = {one.run.config.name for one in launch.decisions if one.state in LIVE or one.action in STARTS}
            held = [run.config.name for run in unfinished(study, study.history()) if run.config.name not in known]
        Spec.of(study, self._sets, until, held).write(launch.sweep)

    def conclude(self, launch: Launch, console: Console) -> int:
        """Say what was submitted, or which run is the best. Returns 1 if runs have ended badly and are left."""
        if self._submitted:
            count = f"{self._submitted} worker{'s' * (self._submitted > 1)}"
            console.print(f"submitted {count}; --status or --watch shows where they are", highlight=False)
            self._submitted = 0
        elif not self._left(launch):
            show_best(self._search.study, self._search.study.history(), console)
        return super().conclude(launch, console)
