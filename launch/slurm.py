"""`python launch/slurm.py --grid FILE`: submit a grid to SLURM and return at once.

Start it again to see where the runs are and to submit what is missing; nothing is submitted twice.
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from launch import cli, grid, plan, rundir
from launch.resources import SlurmBlock, resources
from launch.states import ENDED_BADLY, State
from launch.submission import look, submit
from shards.errors import UserError, command


def launch(options: cli.Options, overrides: Mapping[str, Any], console: Console, cluster: str = "slurm") -> int:
    """Submit a grid. Returns the exit code: 0, or 1 if runs ended badly."""
    loaded = grid.load(options.grid)
    block = cli.read_block(SlurmBlock, loaded, "slurm", loaded.slurm, overrides)
    everything = grid.expand(loaded, options.sets)
    expansion = grid.expand(loaded, options.sets, options.only) if options.only else everything
    wanted = {run.config.name: resources(block, run, loaded.where("slurm")) for run in expansion.runs}
    sweep = rundir.Sweep(options.sweep_root / loaded.name)
    no_slurm = f"no sbatch on this machine; without SLURM use: python launch/local.py --grid {options.grid}"
    if options.dry_run:
        seen = look(sweep, expansion.runs)
        found, trouble = seen.found, seen.trouble
        decisions = plan.decide(expansion.runs, found, options.retry)
        cli.show_plan(console, loaded, expansion, decisions, dry_run=True)
        if not shutil.which("sbatch"):
            cli.say(f"note: {no_slurm}")
        elif trouble:
            cli.say(f"warning: {trouble}")
        return 0
    if cluster == "slurm" and not shutil.which("sbatch"):
        raise UserError(no_slurm)
    cli.check_environment(loaded)
    cli.check_data(sweep, expansion.runs)
    with sweep.locked(wait=False):
        seen = look(sweep, expansion.runs, fresh=True)
        found = seen.found
        if not seen.queue_known:
            raise UserError(f"SLURM does not answer ({seen.trouble}); nothing was submitted, try again when it does")
        if seen.trouble:
            cli.say(f"warning: {seen.trouble}")
        for run in expansion.runs:
            now = found[run.config.name]
            if now.state is not State.PLANNED:
                rundir.note_state(sweep.run(run), now.state, now.reason)
        decisions = plan.decide(expansion.runs, found, options.retry)
        sweep.commit(loaded, expansion, everything.runs)
        cli.show_plan(console, loaded, expansion, decisions, dry_run=False)
        jobs = submit(sweep, block, wanted, decisions, cluster=cluster)
        from artnet import report  # scipy takes a second: a dry run does without

        report.write(sweep.folder, console)
    if jobs:
        console.print(f"submitted {jobs} jobs; run this again to see where they are", highlight=False)
    return 1 if any(f.state in ENDED_BADLY for f in found.values()) and not options.retry else 0


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
        "--cluster",
        choices=("slurm", "local", "debug"),
        default="slurm",
        help="to try without SLURM: as processes of this machine, all at once, or in this process",
    )
    args = parser.parse_args(argv)
    own = ("partition", "time", "nodes", "gpus_per_node", "max_parallel")
    return launch(cli.options(args), {key: getattr(args, key) for key in own}, cli.console(), args.cluster)


if __name__ == "__main__":
    raise SystemExit(main())
