"""`python launch/slurm.py --grid FILE`: submit a grid to SLURM and return at once.

Start it again to see where the runs are and to submit what is missing; nothing is submitted twice.
"""

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from launch import console as cli
from launch import grid, local
from launch.cluster import preflight, snapshot
from launch.cluster.observe import look
from launch.cluster.resources import Request, SlurmBlock
from launch.cluster.submit import submit
from launch.commands import clearing
from launch.commands import options as arguments
from launch.commands import session as verbs
from launch.sweep import plan
from launch.sweep.cost import cost, estimate
from launch.sweep.folder import Sweep
from launch.sweep.state import ENDED_BADLY, State
from shards.errors import UserError, command

NUMBERS = {"nodes", "gpus_per_node", "tasks_per_node", "cpus_per_task", "max_parallel", "requeue"}
METAVARS = {"time": "HH:MM:SS", "setup": "LINE", "mem": "SIZE", "mem_per_gpu": "SIZE", "exclude": "NODES"}
HELP = {
    "partition": "where its job waits (default: the cluster's)",
    "account": "whom it is billed to",
    "qos": "quality of service",
    "time": "its time limit (default: 1:00:00)",
    "nodes": "nodes for each run (default: 1)",
    "gpus_per_node": "GPUs of each node, one rank each (default: 0, CPUs)",
    "gpu_type": "which GPUs, as the cluster names them, such as a100 (default: any)",
    "cpus_per_task": "CPUs of each rank",
    "mem_per_gpu": 'instead of --mem, such as "16G"',
    "reservation": "nodes that were set aside for you",
}


def find(sweep: Sweep, runs: Sequence[grid.Run], fresh: bool) -> plan.Sight:
    """How runs are found, with what SLURM says of their jobs."""
    seen, found = look(sweep, runs, fresh), {}
    for name, now in seen.found.items():
        job = seen.jobs.get(name)
        found[name] = dataclasses.replace(now, job=job.id, node=job.node, left=job.left) if job else now
    return plan.Sight(found, seen.trouble, not seen.queue_known)


def launch(
    options: arguments.Options, overrides: Mapping[str, Any], with_snapshot: bool, cluster: str, console: Console
) -> int:
    """Submit a grid, or do another thing with it. Returns the exit code: 0, or 1 if runs ended badly."""
    loaded = grid.load(options.grid)
    work = verbs.work(options, loaded, lambda only: grid.expand(loaded, options.sets, only), find, asks=True)
    if options.verb is not arguments.Verb.LAUNCH:
        return verbs.act(work, console)
    block = cli.read_block(SlurmBlock, loaded, "slurm", loaded.slurm, overrides)
    request = Request(loaded, block, overrides, os.environ)
    if not options.sets:
        request.check_matches(work.everything.runs)
    wanted = {run.config.name: request.of(run) for run in work.expansion.runs}
    no_slurm = f"no sbatch on this machine; without SLURM use: python launch/local.py --grid {options.grid}"
    if options.dry_run:
        decisions, sight = verbs.show(work, console)
        if not shutil.which("sbatch"):
            cli.say(f"note: {no_slurm}")
        elif not sight.trouble:
            check(request, decisions, work.sweep)
        return 0
    if cluster == "slurm" and not shutil.which("sbatch"):
        raise UserError(no_slurm)
    cli.check_environment(loaded)
    cli.check_data(work.sweep, work.expansion.runs)
    with work.sweep.locked(wait=False):
        decisions, sight = verbs.show(work, console, fresh=True)
        verbs.note(work, sight.found)
        if cluster == "slurm":
            check(request, decisions, work.sweep)
        if not clearing.agreed(work.sweep, decisions, options.yes):
            return 0
        code = None
        if with_snapshot and plan.to_start(decisions):
            code = snapshot.take(work.sweep.code, options.sweep_root)
        decisions = clearing.clear(work.sweep, decisions, sight.found)
        work.sweep.commit(loaded, work.expansion, work.everything.runs)
        jobs = submit(work.sweep, block, wanted, decisions, code, cluster)
        from artnet import report  # scipy takes a while

        report.write(work.sweep.folder, console)
    if jobs:
        console.print(f"submitted {jobs} jobs; --status or --watch shows where they are", highlight=False)
    return 1 if any(d.action is plan.Action.LEAVE and d.state in ENDED_BADLY for d in decisions) else 0


def check(request: Request, decisions: Sequence[plan.Decision], sweep: Sweep) -> None:
    """Say what there is to know about the jobs of a plan. Raises `UserError` with all that would go wrong."""
    chosen = [decision.run for decision in plan.to_start(decisions)]
    new = [decision.run for decision in decisions if decision.action in (plan.Action.START, plan.Action.AFRESH)]
    found = preflight.check(request, chosen, new, sweep.folder)
    for warning in found.warnings:
        cli.say(f"warning: {warning}")
    if found.problems:
        raise UserError("\nerror: ".join(found.problems))
    complete = [decision.run for decision in decisions if decision.state is State.COMPLETE]
    finished = [(run, taken) for run in complete if (taken := cost(sweep.run(run), run.config.signature))]
    if told := estimate(finished, chosen):
        cli.say(told)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    launching = {
        **arguments.PRUNE,
        "--no-snapshot": "jobs run the code as it is by then, not a copy of it as it is now",
        "--local": "on this machine instead, as launch/local.py does; of the options below --max-parallel alone counts",
    }
    parser = arguments.parser("slurm.py", (__doc__ or "").split(": ", 1)[1], launching)
    asked = parser.add_argument_group("what a run gets from SLURM, over the grid's slurm: block and its overrides")
    for key, field in SlurmBlock.model_fields.items():
        if key != "overrides":
            names = ["--gpus"] * (key == "gpus_per_node") + [f"--{key.replace('_', '-')}"]
            how: dict[str, Any] = {"action": "append"} if key == "setup" else {"type": int if key in NUMBERS else str}
            metavar = "N" if key in NUMBERS else METAVARS.get(key, "NAME")
            asked.add_argument(*names, dest=key, metavar=metavar, help=HELP.get(key) or field.description, **how)
    asked.add_argument(
        "--cluster",
        choices=("slurm", "local", "debug"),
        default="slurm",
        help="to try without SLURM: as processes of this machine, all at once, or in this process",
    )
    args = parser.parse_args(argv)
    overrides = {key: getattr(args, key) for key in SlurmBlock.model_fields if key != "overrides"}
    if args.local:
        return local.launch(arguments.parse(args), {"max_parallel": args.max_parallel}, cli.console())
    return launch(arguments.parse(args), overrides, not args.no_snapshot, args.cluster, cli.console())


if __name__ == "__main__":
    raise SystemExit(main())
