"""`python launch/tune.py --grid FILE`: search a grid's distributions with Ray Tune, learning from what was tried.

Started again, it reads complete runs and trains none of them again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from launch.cluster.backend import ClusterBackend
from launch.commands import dispatch, options
from launch.console import console
from launch.machine import MachineBackend
from launch.search.allocation import Allocation
from launch.search.submission import SubmittedSearch, read
from launch.search.tuner import SearchBackend
from launch.sweep.backend import Engines
from shards.errors import UserError, command
from shards.numbers import whole


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns 0 if a run is complete, 75 if it was stopped on request."""
    parser = options.parser("tune.py", (__doc__ or "").split(": ", 1)[1])
    own = parser.add_argument_group("search")
    own.add_argument("--trials", type=whole, metavar="N", help="configurations (default: the grid's tune block)")
    own.add_argument("--samples", type=whole, metavar="N", help="the same at each point of the grid's lists")
    own.add_argument("--max-parallel", type=whole, metavar="N", help="runs at a time")
    own.add_argument(
        "--promote", action="append", default=[], metavar="RUN", help="train a run to its end that was stopped early"
    )
    own.add_argument("--address", metavar="HOST:PORT", help="join this Ray cluster (default: start one, here and now)")
    own.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE",
        help="submit the search as one job with Ray on all of its nodes: nodes=4,time=8:00:00, as in the slurm: block",
    )  # fmt: skip
    own.add_argument("--allocation", type=Path, help=argparse.SUPPRESS)  # given in such a job
    args = parser.parse_args(argv)
    asked = options.parse(args)
    overrides = {"trials": args.trials, "samples": args.samples, "max_parallel": args.max_parallel}
    allocation = Allocation.here(args.allocation) if args.allocation else None
    engine = SearchBackend(overrides, args.address, args.promote, allocation)
    if args.slurm:
        if asked.command is not options.Command.LAUNCH:
            raise UserError(f"--slurm says how to launch, and --{asked.command} launches nothing; leave one out")
        if args.address:
            raise UserError("--address joins a Ray cluster that is there, --slurm starts one in a job; give one")
        engine = SubmittedSearch(read(args.slurm), overrides, args.promote)
    return dispatch.run(asked, Engines(engine, (MachineBackend(), ClusterBackend())), console())


if __name__ == "__main__":
    raise SystemExit(main())
