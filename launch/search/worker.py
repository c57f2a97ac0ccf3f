"""`python -P -m launch.search.worker ARRAY.json [PLACE]`: a worker of a search, in each task of its job.

Signal handlers are installed before heavy imports: SLURM may send a signal as soon as the job runs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from shards.errors import command

from ..cluster.stop import StopRelay


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train one run of the search after another. Returns the exit code."""
    stop = StopRelay()
    from ..cluster.rank import environment_place
    from .work import Worker

    arguments = sys.argv[1:] if argv is None else argv
    place = int(arguments[1]) if len(arguments) > 1 else environment_place()
    return Worker(Path(arguments[0]), place, stop).carry_out()


if __name__ == "__main__":
    raise SystemExit(main())
