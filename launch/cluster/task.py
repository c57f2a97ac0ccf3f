"""`python -P -m launch.cluster.task ARRAY.json [PLACE]`: the program that srun starts once per rank.

Signal handlers are installed before heavy imports: SLURM may send a signal as soon as the job runs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from shards.errors import command

from .stop import StopRelay


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Train the run at this task's place. Returns the exit code."""
    stop = StopRelay()
    from .job import Job
    from .rank import environment_place

    arguments = sys.argv[1:] if argv is None else argv
    file = Path(arguments[0])
    place = int(arguments[1]) if len(arguments) > 1 else environment_place()
    return Job(file, place, stop).carry_out()


if __name__ == "__main__":
    raise SystemExit(main())
