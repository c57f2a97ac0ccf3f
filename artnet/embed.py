"""`python -m artnet.embed RUN`: compute the features of a run's paintings and write them as Parquet.

They are the input of the heads, for each painting that is in train, val or test of the run's tasks. A second call reads
the file instead. See `artnet/embeddings.py` for its columns.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shards.errors import command

from .heartbeat import shown
from .rundir import RunDir


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    said = (__doc__ or "").split("\n", 1)[0].split(": ", 1)[1]
    parser = argparse.ArgumentParser(prog="python -m artnet.embed", description=said)
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a complete run")
    parser.add_argument("--shards", help="folder or URL of the run's shards (default: that of its configuration)")
    parser.add_argument("--out", type=Path, help="file to write (default: RUN/embeddings.parquet)")
    args = parser.parse_args(argv)
    with shown("loading torch"):
        from .distributed.group import process_group
        from .inference.embeddings import saved_or_computed
        from .inference.trained import TrainedRun

    with process_group() as ranks:
        run = RunDir(args.run.resolve())
        file = args.out or run.embeddings_file
        with shown(f"computing the features of {run.name}"):
            trained = TrainedRun(run, ranks.device)
            found = saved_or_computed(trained, trained.own_index(args.shards), ranks, file)
        if ranks.is_first:
            print(f"{file}: {found.features.shape[1]:,} features of {len(found):,} paintings")
    return 0


if __name__ == "__main__":
    sys.exit(main())
