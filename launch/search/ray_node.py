"""`python -m launch.search.ray_node SWEEP JOB ARGUMENTS`: the program that srun starts once on each node of a search.

On the first node it runs `launch/tune.py ARGUMENTS`, which starts Ray; the other nodes join that Ray. Signal handlers
are installed before heavy imports: SLURM may send a signal as soon as the job runs.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shards.errors import command

from ..cluster.stop import StopRelay


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Take part in the search. Returns the exit code."""
    stop = StopRelay()
    from ..sweep.folder import SweepDir
    from .first_node import FirstNode
    from .other_node import OtherNode
    from .ray_job import RayJob

    folder, name, *arguments = sys.argv[1:] if argv is None else argv
    sweep = SweepDir(Path(folder))
    job = RayJob.read(sweep)
    if job is None or job.name != name or job.ended:
        print("the search was cancelled or submitted again since; this job has nothing to do", flush=True)
        return 0
    if os.environ.get("SLURM_PROCID", "0") == "0":
        return FirstNode(sweep, job, stop).search(arguments)
    return OtherNode(sweep, stop).take_part()


if __name__ == "__main__":
    raise SystemExit(main())
