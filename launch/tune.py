"""`python launch/tune.py --grid FILE`: search a grid's distributions with Ray Tune, ASHA stopping what falls behind.

The configurations are drawn here, from the seed, so that a dry run shows them and a second launch knows them: a run
that is complete is read, not trained again. Each is an ordinary run in an ordinary run directory.
"""

import dataclasses
import logging
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from artnet import config as run_config
from artnet import report
from artnet.rundir import EXIT_STOPPED, RunDir
from launch import console as cli
from launch import grid
from launch.commands import clearing
from launch.commands import options as arguments
from launch.commands import session as verbs
from launch.local import training_command
from launch.sweep import folder as rundir
from launch.sweep import plan
from launch.sweep.state import State, after_exit
from shards.errors import UserError, command
from shards.files import atomic_write

POLL_S = 0.2


class TuneBlock(BaseModel):
    """The grid's `tune:` block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    samples: int = Field(10, ge=1, le=100_000, description="configurations drawn at each point of the grid's lists")
    seed: int = Field(0, ge=0, description="of the drawing")
    max_parallel: int | None = Field(None, ge=1, description="runs at a time; default: as many as the resources allow")
    cpus_per_run: float = Field(1, gt=0)
    gpus_per_run: float = Field(0, ge=0)
    grace_epochs: int = Field(1, ge=1, description="epochs before ASHA may stop a run")
    reduction_factor: int = Field(3, ge=2, description="ASHA keeps one of so many at each rung")


class Trial:
    """One run under Ray Tune: the training program as a process of its own, reported epoch by epoch.

    Mixed with `ray.tune.Trainable` in `search`, so that Ray is imported only when a search starts.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Look at the run. `config["run"]` holds its `folder`, whether to `train` it or only to report what it did,
        the `metric` to report, the `worst` value of it, the number of `threads`, and when the search `began`.
        """
        wanted = config["run"]
        self.run = RunDir(Path(wanted["folder"]))
        self.train: bool = wanted["train"]
        self.metric: str = wanted["metric"]
        self.worst: float = wanted["worst"]
        self.threads: int = wanted["threads"]
        self.began: float = wanted["began"]
        settings = self.run.config()
        self.signature, self.last_epoch = settings.signature, settings.train.epochs
        self.reported = 0
        self.process: subprocess.Popen[bytes] | None = None

    def step(self) -> dict[str, Any]:
        """Wait for the next epoch and report it; with the last one, wait until the run is complete."""
        while True:
            complete = self.run.result(self.signature) is not None
            over = complete or not self.train
            epochs = self.run.epochs()
            if len(epochs) > self.reported and (over or epochs[self.reported]["epoch"] < self.last_epoch):
                epoch = epochs[self.reported]
                self.reported += 1
                return {
                    "epoch": epoch["epoch"],
                    "metric": epoch[self.metric],
                    "done": over and self.reported == len(epochs),
                }
            if not over and not self._keep_training():
                # Raising would have Ray print its own traceback; the reason is in the run's state.
                return {"epoch": max(1, self.reported), "metric": self.worst, "done": True}
            time.sleep(POLL_S)

    def save_checkpoint(self, folder: str) -> None:
        """Nothing: the run directory holds the checkpoints."""

    def load_checkpoint(self, folder: str) -> None:
        """Nothing, likewise."""

    def cleanup(self) -> None:
        """Called when the run is over, or ASHA has stopped it: then the training saves a checkpoint and ends."""
        if self.process is None:
            return
        if self.run.result(self.signature):
            self.process.wait()
            rundir.note_state(self.run, State.COMPLETE)
        elif self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
            rundir.note_state(self.run, State.CANCELLED, f"stopped by ASHA after epoch {self.reported}")

    def _keep_training(self) -> bool:
        """Start the training if it does not go on by itself. False if it has failed."""
        if self.process is None:
            if rundir.cancelled_since(self.run, self.began):
                return False
            if not self.run.is_locked():  # else an earlier launch's process is still at it
                self._start()
            return True
        code = self.process.poll()
        if code is not None and not self.run.result(self.signature):
            outcome = rundir.last_outcome(self.run, self.attempts_before)
            state, reason = after_exit(code, outcome, rundir.last_words(self.logs / "stderr"))
            if rundir.cancelled_since(self.run, self.began):
                state, reason = State.CANCELLED, self.run.state()["reason"]
            rundir.note_state(self.run, state, reason, exit_code=code)
            return False
        return True

    def _start(self) -> None:
        self.attempts_before = len(self.run.run().get("attempts", []))
        self.logs = rundir.attempt_folder(self.run, rundir.next_attempt(self.run))
        rundir.note_state(self.run, State.RUNNING, launcher="tune")
        with (self.logs / "stdout").open("wb") as out, (self.logs / "stderr").open("wb") as err:
            self.process = subprocess.Popen(
                training_command(self.run.config_file, self.run.path, 1),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads)},
            )


def check_metric(loaded: grid.Grid, runs: Sequence[grid.Run]) -> None:
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


def search(
    sweep: rundir.Sweep, block: TuneBlock, metric: Mapping[str, str], decisions: Sequence[plan.Decision]
) -> bool:
    """Let Ray Tune run the plan. What is left as it is takes part with what it reported, so that ASHA can compare.

    Returns whether every run came to its end, its own or ASHA's: not so after Ctrl-C.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the run directories hold the curves already
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # which would point to a folder of Ray's that is gone when it ends
    import ray
    from ray import tune

    class RayTrial(Trial, tune.Trainable):  # type: ignore[misc]
        pass

    class Speaker(tune.Callback):
        def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
            name = Path(trial.config["run"]["folder"]).name
            cli.say(f"{name} epoch {result['epoch']} {metric['name']} {result['metric']:.4f}")

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            ended.add(Path(trial.config["run"]["folder"]).name)

    ended: set[str] = set()
    known = [d for d in decisions if d.action not in plan.STARTS and sweep.run(d.run).epochs()]
    wanted = plan.to_start(decisions)
    space = [
        {
            "folder": str(sweep.run(decision.run).path.resolve()),
            "train": decision.action in plan.STARTS,
            "metric": metric["name"],
            "worst": -math.inf if metric["goal"] == "maximize" else math.inf,
            "threads": max(1, int(block.cpus_per_run)),
            "began": time.time(),
        }
        for decision in [*known, *wanted]
    ]
    storage = tempfile.TemporaryDirectory(prefix="artnet-ray-")  # Ray's own notes; ours are in the run directories
    context = ray.init(
        include_dashboard=True, dashboard_host="127.0.0.1", log_to_driver=False, logging_level=logging.ERROR
    )
    try:
        cli.say(f"Ray dashboard: http://{context.dashboard_url}   curves: tensorboard --logdir {sweep.folder}")
        scheduler = tune.schedulers.ASHAScheduler(
            time_attr="epoch",
            max_t=max(decision.run.config.train.epochs for decision in decisions),
            grace_period=block.grace_epochs,
            reduction_factor=block.reduction_factor,
        )
        tuner = tune.Tuner(
            tune.with_resources(RayTrial, {"cpu": block.cpus_per_run, "gpu": block.gpus_per_run}),
            param_space={"run": tune.grid_search(space)},
            tune_config=tune.TuneConfig(
                metric="metric",
                mode="max" if metric["goal"] == "maximize" else "min",
                scheduler=scheduler,
                max_concurrent_trials=block.max_parallel,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(storage_path=storage.name, callbacks=[Speaker()], verbose=0),
        )
        tuner.fit()
    finally:
        ray.shutdown()
        storage.cleanup()
    cut_off = [folder for d in wanted if (folder := sweep.run(d.run)).name not in ended]
    for folder in cut_off:
        rundir.note_state(folder, State.INTERRUPTED, "stopped on request")
    return not cut_off


def best(sweep: rundir.Sweep, metric: Mapping[str, str], runs: Sequence[grid.Run]) -> tuple[grid.Run, float] | None:
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


def launch(options: arguments.Options, overrides: Mapping[str, Any], console: Console) -> int:
    """Run a search on this machine. Returns the exit code: 0, or 75 if it was stopped.

    Raises `UserError` for what is wrong with the grid, and if no run is complete at the end.
    """
    loaded = grid.load(options.grid)
    block = cli.read_block(TuneBlock, loaded, "tune", loaded.tune, overrides)
    work = verbs.work(
        options,
        loaded,
        lambda only: grid.sample(loaded, block.samples, block.seed, options.sets, only),
        names_dropped=False,  # another number of samples or another seed draws other runs
    )
    if options.verb is not arguments.Verb.LAUNCH:
        return verbs.act(work, console)
    everything, sweep = work.everything, work.sweep
    if options.dry_run:
        verbs.show(work, console)
        return 0
    check_metric(loaded, everything.runs)
    cli.check_environment(loaded)
    cli.check_data(sweep, work.expansion.runs)
    with sweep.locked(wait=True):
        decisions, sight = verbs.show(work, console)
        if not clearing.agreed(sweep, decisions, options.yes):
            return 0
        decisions = [
            # A process that an earlier launch left behind is waited for: its run is reported like any other.
            dataclasses.replace(decision, action=plan.Action.RESUME) if decision.state is State.RUNNING else decision
            for decision in clearing.clear(sweep, decisions, sight.found)
        ]
        sweep.commit(loaded, work.expansion, everything.runs)
        finished = True
        if plan.to_start(decisions):
            finished = search(sweep, block, loaded.metric, decisions)
        report.write(sweep.folder, console)
        winner = best(sweep, loaded.metric, everything.runs)
    if not finished:
        cli.say("stopped; run the same command again to go on")
        return EXIT_STOPPED
    if winner is None:
        raise UserError(f"no run of {sweep.folder} is complete; its runs' attempts/*/stderr say why")
    run, value = winner
    atomic_write(sweep.folder / "best.yaml", run_config.dump(run.config))
    values = ", ".join(f"{key}={cli.show_value(value)}" for key, value in run.values.items())
    console.print(f"best: {run.config.name}, {loaded.metric['name']} {value:.4f}: {values}", highlight=False)
    console.print(f"its configuration: {sweep.folder / 'best.yaml'}", highlight=False)
    return 0


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = arguments.parser("tune.py", (__doc__ or "").split(": ", 1)[1])
    parser.add_argument(
        "--samples", type=int, metavar="N", help="configurations drawn (default: the grid's tune block)"
    )
    parser.add_argument("--max-parallel", type=int, metavar="N", help="runs at a time")
    args = parser.parse_args(argv)
    return launch(arguments.parse(args), {"samples": args.samples, "max_parallel": args.max_parallel}, cli.console())


if __name__ == "__main__":
    raise SystemExit(main())
