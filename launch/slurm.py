"""`python launch/slurm.py --grid FILE`: submit a grid to SLURM and return at once.

Start it again to see where the runs are and to submit what is missing; nothing is submitted twice.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from artnet import report
from launch import cli, grid, plan, preflight, rundir, snapshot
from launch.estimate import cost, estimate
from launch.resources import Request, SlurmBlock
from launch.states import ENDED_BADLY, State
from launch.submission import find, submit
from shards.errors import UserError, command


def launch(options: cli.Options, overrides: Mapping[str, Any], with_snapshot: bool, console: Console) -> int:
    """Submit a grid. Returns the exit code: 0, or 1 if runs ended badly."""
    loaded = grid.load(options.grid)
    block = cli.read_block(SlurmBlock, loaded, "slurm", loaded.slurm, overrides)
    everything = grid.expand(loaded, options.sets)
    expansion = grid.expand(loaded, options.sets, options.only) if options.only else everything
    request = Request(loaded, block, overrides)
    if not options.sets:
        request.check_matches(everything.runs)
    wanted = {run.config.name: request.of(run) for run in expansion.runs}
    sweep = rundir.Sweep(options.sweep_root / loaded.name)
    no_slurm = f"no sbatch on this machine; without SLURM use: python launch/local.py --grid {options.grid}"
    if options.dry_run:
        found, trouble = find(sweep, expansion.runs)
        decisions = plan.decide(expansion.runs, found, options.retry)
        cli.show_plan(console, loaded, expansion, decisions, dry_run=True)
        if not shutil.which("sbatch"):
            cli.say(f"note: {no_slurm}")
        elif trouble:
            cli.say(f"warning: {trouble}")
        else:
            check(request, decisions, sweep)
        return 0
    if not shutil.which("sbatch"):
        raise UserError(no_slurm)
    cli.check_environment(loaded)
    cli.check_data(sweep, expansion.runs)
    with sweep.locked(wait=False):
        found, trouble = find(sweep, expansion.runs)
        if trouble:
            raise UserError(f"SLURM does not answer ({trouble}); nothing was submitted, try again when it does")
        for run in expansion.runs:
            now = found[run.config.name]
            if now.state is not State.PLANNED:
                rundir.note_state(sweep.run(run), now.state, now.reason)
        decisions = plan.decide(expansion.runs, found, options.retry)
        check(request, decisions, sweep)
        if with_snapshot and any(decision.action is not plan.Action.LEAVE for decision in decisions):
            lines = snapshot.setup(snapshot.take(sweep.folder / "code", options.sweep_root))
            wanted = {name: asked.then(lines) for name, asked in wanted.items()}
        sweep.commit(loaded, expansion, everything.runs)
        cli.show_plan(console, loaded, expansion, decisions, dry_run=False)
        jobs = submit(sweep, block, wanted, decisions)
        report.write(sweep.folder, console)
    if jobs:
        console.print(f"submitted {jobs} jobs; run this again to see where they are", highlight=False)
    return 1 if any(f.state in ENDED_BADLY for f in found.values()) and not options.retry else 0


def check(request: Request, decisions: Sequence[plan.Decision], sweep: rundir.Sweep) -> None:
    """Say what there is to know about the jobs of a plan. Raises `UserError` with all that would go wrong."""
    chosen = [decision for decision in decisions if decision.action is not plan.Action.LEAVE]
    new = [decision.run for decision in chosen if decision.action is plan.Action.START]
    found = preflight.check(request, [decision.run for decision in chosen], new, sweep.folder)
    for warning in found.warnings:
        cli.say(f"warning: {warning}")
    if found.problems:
        raise UserError("\nerror: ".join(found.problems))
    complete = [decision.run for decision in decisions if decision.state is State.COMPLETE]
    finished = [(run, taken) for run in complete if (taken := cost(sweep.run(run), run.config.signature))]
    if told := estimate(finished, [decision.run for decision in chosen]):
        cli.say(told)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("slurm.py", (__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--partition", metavar="NAME")
    parser.add_argument("--time", metavar="HH:MM:SS", help="time limit of each run")
    parser.add_argument("--nodes", type=int, metavar="N")
    parser.add_argument("--gpus-per-node", type=int, metavar="N", help="one rank each; 0: CPUs")
    parser.add_argument("--max-parallel", type=int, metavar="N", help="jobs at a time")
    parser.add_argument(
        "--no-snapshot", action="store_true", help="jobs import the code as it is when they run, not as it is now"
    )
    args = parser.parse_args(argv)
    own = ("partition", "time", "nodes", "gpus_per_node", "max_parallel")
    overrides = {key: getattr(args, key) for key in own}
    return launch(cli.options(args), overrides, not args.no_snapshot, cli.console())


if __name__ == "__main__":
    raise SystemExit(main())
