"""Engine 3: a search with Ray Tune, on this machine.

The configurations are drawn here, from the seed, so that a dry run shows them and a second launch knows them: a run
that is complete is read, not trained again. Each is an ordinary run in an ordinary run directory.
"""

import contextlib
import dataclasses
import math
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from artnet import config as run_config
from shards.errors import UserError
from shards.files import atomic_write
from shards.workers import cores

from ..console import say
from ..grid import Expansion, Grid, Run, sample
from ..grid.space import shown
from ..host.cpus import divide, own_cpus
from ..host.gpus import near_cpus, visible_gpus
from ..host.signals import handled
from ..machine import MachineBackend, is_left_running
from ..sweep.backend import Launch
from ..sweep.folder import SweepDir, note_state
from ..sweep.plan import STARTS, Action, Decision, to_start
from ..sweep.state import State
from . import ray_cluster
from .trial import Trial

REQUESTS = (signal.SIGTERM, signal.SIGHUP)


class TuneBlock(BaseModel):
    """The grid's `tune:` block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int = Field(10, ge=1, le=100_000, description="configurations drawn at each point of the grid's lists")
    seed: int = Field(0, ge=0, description="of the drawing")
    max_parallel: int | None = Field(None, ge=1, description="runs at a time; default: as many as the resources allow")
    cpus_per_run: float | None = Field(None, gt=0, description="default: with GPUs an equal share of the CPUs, else 1")
    gpus_per_run: float | None = Field(
        None, ge=0, description="default: 1 with GPUs, else 0; 0.5: two runs on a GPU; 0: on CPUs"
    )
    grace_epochs: int = Field(1, ge=1, description="epochs before ASHA may stop a run")
    reduction_factor: int = Field(3, ge=2, description="ASHA keeps one of so many at each rung")


@dataclass(frozen=True)
class Share:
    """The CPUs and GPUs of each run of a search."""

    cpus: float
    gpus: float

    def parts(self) -> list[list[int]]:
        """The CPUs for each of the runs that fit at a time. Empty where the system has no CPU affinity."""
        own = own_cpus()
        count = max(1, math.floor(len(own) / self.cpus))
        # Whole CPUs in the order of cores: a run gets no more than its share.
        parts = divide(own, [()] * count) if own else []
        return [sorted(part, key=lambda cpu: (own[cpu], cpu))[: math.ceil(self.cpus)] for part in parts]


def share(block: TuneBlock, cpus: int, gpus: int) -> Share:
    """What each run gets on a machine with so many CPUs and GPUs: what the block says, else an equal share."""
    gpus_each = block.gpus_per_run if block.gpus_per_run is not None else float(gpus > 0)
    runs = math.floor(gpus / gpus_each) if gpus_each else cpus
    if block.max_parallel:
        runs = min(runs, block.max_parallel)
    equal = max(1, cpus // max(1, runs)) if gpus_each else 1
    return Share(block.cpus_per_run or equal, gpus_each)


class SearchBackend(MachineBackend):
    """Trains runs on this machine under Ray Tune, ASHA stopping what falls behind."""

    name = "tune"
    draws = True  # another number of samples or another seed draws other runs

    def configure(self, grid: Grid, everything: Sequence[Run], sets: Sequence[str]) -> None:
        """Make sure that every run reports the grid's metric. Raises `UserError`."""
        check_metric(grid, everything)

    def expand(self, grid: Grid, sets: Sequence[str], only: Sequence[str]) -> Expansion:
        """The runs of a grid, drawn. Raises `UserError` also for what is wrong in the `tune:` block."""
        self._search = grid.read_block(TuneBlock, "tune", grid.tune, self._overrides)
        return sample(grid, self._search.samples, self._search.seed, sets, only)

    def ranks(self, run: Run) -> int:
        """One: a run of a search is one process."""
        return 1

    def check(self, launch: Launch, dry_run: bool) -> None:
        """Check that a run's share of this machine is no more than all of it. Raises `UserError`."""
        has = {"cpus_per_run": cores(), "gpus_per_run": len(visible_gpus())}
        for key, most in has.items():
            asked = getattr(self._search, key)
            if asked is not None and asked > most:
                where = launch.grid.where("tune", key)
                raise UserError(f"{where}: tune.{key} {asked:g} is more than this machine shows, {most}; give less")
        if (self._search.gpus_per_run or 0) > 1:
            where = launch.grid.where("tune", "gpus_per_run")
            say(f"warning: {where}: a run of a search is one process, which uses one GPU; the others would be idle")

    def describe(self, launch: Launch) -> list[str]:
        """The share of this machine that each run gets."""
        if not to_start(launch.decisions):
            return []
        each = share(self._search, cores(), len(visible_gpus()))
        return [f"on this machine, for each run: CPUs: {each.cpus:g}, GPUs: {each.gpus:g}"]

    def start(self, launch: Launch) -> bool:
        """Let Ray Tune train the runs of the plan, and wait for those left running. False after Ctrl-C."""
        decisions = [
            # It is reported like any other run; should it end without a result, it is resumed.
            dataclasses.replace(decision, action=Action.RESUME) if is_left_running(decision) else decision
            for decision in launch.decisions
        ]
        if not any(decision.action in STARTS for decision in decisions):
            return True
        return search(launch.sweep, self._search, launch.grid.metric, decisions)

    def conclude(self, launch: Launch, console: Console) -> int:
        """Print which run is the best and write its configuration. Raises `UserError` if no run is complete."""
        sweep, metric = launch.sweep, launch.grid.metric
        winner = best(sweep, metric, launch.everything)
        if winner is None:
            raise UserError(f"no run of {sweep.folder} is complete; its runs' attempts/*/stderr say why")
        run, value = winner
        atomic_write(sweep.folder / "best.yaml", run_config.dump(run.config))
        values = ", ".join(f"{key}={shown(value)}" for key, value in run.values.items())
        console.print(f"best: {run.config.name}, {metric['name']} {value:.4f}: {values}", highlight=False)
        console.print(f"its configuration: {sweep.folder / 'best.yaml'}", highlight=False)
        return 0


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


def search(sweep: SweepDir, block: TuneBlock, metric: Mapping[str, str], decisions: Sequence[Decision]) -> bool:
    """Let Ray Tune run the plan. What is left as it is takes part with what it reported, so that ASHA can compare.

    Returns whether every run came to its end, its own or ASHA's: not so after Ctrl-C.
    """
    ended: set[str] = set()
    known = [d for d in decisions if d.action not in STARTS and sweep.run(d.run).epochs()]
    wanted = [d for d in decisions if d.action in STARTS]
    gpus = visible_gpus()
    each = share(block, cores(), len(gpus))
    with contextlib.ExitStack() as stack:
        private = stack.enter_context(ray_cluster.private_folder())
        import ray

        storage = str(private / "notes")  # Ray's own; ours are in the run directories
        Path(storage).mkdir()
        common = _common_config(metric, each, gpus, storage)
        space = [{**common, **_trial_config(sweep, decision)} for decision in [*known, *wanted]]
        stack.callback(ray.shutdown)
        stack.enter_context(handled(_interrupt, REQUESTS))
        try:
            dashboard = ray_cluster.start(private, len(gpus))
        except (KeyboardInterrupt, SystemExit):  # Ray's own handler of SIGTERM exits
            return False
        stack.enter_context(handled(_interrupt, REQUESTS))  # Ray has replaced the handlers
        say(f"Ray dashboard: {dashboard}   its token: {ray_cluster.token_file(private)}")
        say(f"curves: tensorboard --logdir {sweep.folder}")
        epochs = max(decision.run.config.train.epochs for decision in decisions)
        _tuner(block, metric, each, epochs, space, storage, _progress(metric["name"], ended)).fit()
    cut_off = [folder for d in wanted if (folder := sweep.run(d.run)).name not in ended]
    for folder in cut_off:
        note_state(folder, State.INTERRUPTED, "stopped on request")
    return not cut_off


def _tuner(
    block: TuneBlock,
    metric: Mapping[str, str],
    each: Share,
    epochs: int,
    space: Sequence[Mapping[str, Any]],
    storage: str,
    progress: Any,
) -> Any:
    """Ray's tuner of the trials in `space`, of at most so many `epochs`."""
    from ray import tune

    class RayTrial(Trial, tune.Trainable):  # type: ignore[misc]
        pass

    scheduler = tune.schedulers.ASHAScheduler(
        time_attr="epoch",
        max_t=epochs,
        grace_period=block.grace_epochs,
        reduction_factor=block.reduction_factor,
    )
    return tune.Tuner(
        tune.with_resources(RayTrial, {"cpu": each.cpus, "gpu": each.gpus}),
        param_space={"run": tune.grid_search(space)},
        tune_config=tune.TuneConfig(
            metric="metric",
            mode="max" if metric["goal"] == "maximize" else "min",
            scheduler=scheduler,
            max_concurrent_trials=block.max_parallel,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(storage_path=storage, callbacks=[progress], verbose=0),
    )


def _progress(metric: str, ended: set[str]) -> Any:
    """A callback of Ray's that prints a line for each epoch, and adds runs that come to their end to `ended`."""
    from ray import tune

    class Progress(tune.Callback):
        def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
            name = Path(trial.config["run"]["folder"]).name
            say(f"{name} epoch {result['epoch']} {metric} {result['metric']:.4f}")

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            ended.add(Path(trial.config["run"]["folder"]).name)

    return Progress()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Handle a request to stop as Ctrl-C, which Ray Tune handles itself: it lets the runs save a checkpoint."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background, before Ray Tune handles it
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def _common_config(metric: Mapping[str, str], each: Share, gpus: Sequence[str], locks: str) -> dict[str, Any]:
    """What `Trial.setup` gets of every run."""
    return {
        "metric": metric["name"],
        "worst": -math.inf if metric["goal"] == "maximize" else math.inf,
        "threads": max(1, int(each.cpus)),
        "gpus": each.gpus,
        "parts": each.parts(),
        "near": {gpu: sorted(cpus) for gpu, cpus in near_cpus(gpus).items()},
        "locks": locks,
    }


def _trial_config(sweep: SweepDir, decision: Decision) -> dict[str, Any]:
    """What `Trial.setup` gets of a run alone."""
    return {
        "folder": str(sweep.run(decision.run).path.resolve()),
        "train": decision.action in STARTS,
        "began": time.time(),
    }


def best(sweep: SweepDir, metric: Mapping[str, str], runs: Sequence[Run]) -> tuple[Run, float] | None:
    """The complete run with the best metric, and that; None if no run is complete."""
    better = max if metric["goal"] == "maximize" else min
    scored = []
    for run in runs:
        folder = sweep.run(run)
        values = [epoch[metric["name"]] for epoch in folder.epochs() if metric["name"] in epoch]
        if folder.result(run.config.signature) and values:
            scored.append((better(values) if metric["scope"] == "best" else values[-1], run))
    if not scored:
        return None
    value, run = better(scored, key=lambda pair: pair[0])
    return run, value
