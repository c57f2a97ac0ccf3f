"""`python launch/tune.py --grid FILE`: search a grid's distributions with Ray Tune, learning from what was tried.

Started again, it reads complete runs and trains none of them again.
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
    args = parser.parse_args(argv)
    overrides = {"trials": args.trials, "samples": args.samples, "max_parallel": args.max_parallel}
    engine = SearchBackend(overrides, args.address, args.promote)
    return dispatch.run(options.parse(args), Engines(engine, (MachineBackend(), ClusterBackend())), console())


if __name__ == "__main__":
    raise SystemExit(main())
