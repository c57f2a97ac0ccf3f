"""`python launch/local.py --grid FILE`: run a grid on this machine, as many runs at a time as fit.

Started again, it resumes what was interrupted and does nothing twice. Ctrl-C stops the runs at their next step.
"""

from collections.abc import Sequence

from launch.cluster.backend import ClusterBackend
from launch.commands import dispatch, options
from launch.console import console
from launch.machine import MachineBackend
from launch.search.tuner import SearchBackend
from launch.sweep.backend import Engines
from shards.errors import command
from shards.numbers import whole


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0 if all runs are complete, 1 if not, 75 if it was stopped on request."""
    parser = options.parser("local.py", (__doc__ or "").split(": ", 1)[1], options.PRUNE)
    own = parser.add_argument_group("this machine")
    own.add_argument("--max-parallel", type=whole, metavar="N", help="runs at a time (default: the grid's local block)")
    own.add_argument(
        "--processes", type=whole, metavar="N", help="ranks of each run: one GPU each, or a share of the cores"
    )
    args = parser.parse_args(argv)
    engine = MachineBackend({"max_parallel": args.max_parallel, "processes": args.processes})
    return dispatch.run(options.parse(args), Engines(engine, (ClusterBackend(), SearchBackend())), console())


if __name__ == "__main__":
    raise SystemExit(main())
