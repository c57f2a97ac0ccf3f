"""`python launch/slurm.py --grid FILE`: submit a grid to SLURM, or the workers of a search, and return at once.

Started again, it shows where the runs are and submits what is missing; nothing is submitted twice.
"""

from collections.abc import Sequence
from typing import Any

from launch.cluster.backend import ClusterBackend
from launch.cluster.resources import SlurmBlock
from launch.commands import dispatch, options
from launch.console import console
from launch.grid import load
from launch.grid.expand import distributions
from launch.machine import MachineBackend
from launch.search.on_slurm import WorkersBackend
from launch.search.tuner import SearchBackend
from launch.sweep.backend import Engines
from shards.errors import command
from shards.numbers import whole

NUMBERS = {"nodes", "gpus_per_node", "tasks_per_node", "cpus_per_task", "max_parallel", "requeue"}
IN_THE_GRID_ALONE = {"overrides", "sbatch", "srun"}
METAVARS = {
    "time": "HH:MM:SS",
    "setup": "LINE",
    "mem": "SIZE",
    "mem_per_gpu": "SIZE",
    "exclude": "NODES",
    "wrapper": "COMMAND",
}
HELP = {
    "partition": "partition of its job (default: the cluster's default)",
    "account": "account that is charged",
    "qos": "quality of service",
    "time": "time limit of its job (default: 1:00:00)",
    "nodes": "number of nodes (default: 1)",
    "gpus_per_node": "GPUs of each node, one rank each (default: 0, CPUs)",
    "gpu_type": "type of GPU as the cluster names it, such as a100 (default: any)",
    "cpus_per_task": "CPUs of each rank",
    "mem_per_gpu": 'instead of --mem, such as "16G"',
    "reservation": "reservation to run in",
}


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0, or 1 if runs ended badly and are left."""
    launching = {
        **options.PRUNE,
        "--no-snapshot": "jobs run the code as it is when they start, not a copy of it as it is now",
    }
    parser = options.parser("slurm.py", (__doc__ or "").split(": ", 1)[1], launching)
    asked = parser.add_argument_group(
        "SLURM resources of each run, over the grid's slurm: block and its overrides",
        "The block's keys sbatch and srun take any other option of these programs: `sbatch: {exclusive: true}`.",
    )
    fields = {key: field for key, field in SlurmBlock.model_fields.items() if key not in IN_THE_GRID_ALONE}
    for key, field in fields.items():
        names = ["--gpus"] * (key == "gpus_per_node") + [f"--{key.replace('_', '-')}"]
        how: dict[str, Any] = {"action": "append"} if key == "setup" else {"type": whole if key in NUMBERS else str}
        metavar = "N" if key in NUMBERS else METAVARS.get(key, "NAME")
        asked.add_argument(*names, dest=key, metavar=metavar, help=HELP.get(key) or field.description, **how)
    asked.add_argument(
        "--cluster",
        choices=("slurm", "local", "debug"),
        default="slurm",
        help="without SLURM: as processes on this machine, or in this process",
    )
    args = parser.parse_args(argv)
    overrides = {key: getattr(args, key) for key in fields}
    parsed = options.parse(args)
    is_search = parsed.command is not options.Command.NEW and bool(distributions(load(parsed.grid)))
    engine = (WorkersBackend if is_search else ClusterBackend)(overrides, args.cluster, not args.no_snapshot)
    return dispatch.run(parsed, Engines(engine, (MachineBackend(), SearchBackend())), console())


if __name__ == "__main__":
    raise SystemExit(main())
