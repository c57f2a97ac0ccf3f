"""`python -P -m launch.cluster.finish SWEEP`: the job that runs when the jobs of a launch have ended.

It writes the table and the page, and runs the grid's `on_end`.
"""

import argparse
import functools
from collections.abc import Sequence
from pathlib import Path

from artnet import report
from artnet.rundir import MAX_MANIFEST, read_json
from shards.errors import command

from ..console import say
from ..sweep import on_end
from ..sweep.folder import SweepDir
from ..sweep.overview import overview
from . import observe


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The job. Returns 0."""
    parser = argparse.ArgumentParser(prog="python -m launch.cluster.finish")
    parser.add_argument("sweep", type=Path)
    sweep = SweepDir(parser.parse_args(argv).sweep)
    report.write(sweep.folder)
    if words := read_json(sweep.folder / "manifest.json", MAX_MANIFEST).get("on_end"):
        found = overview(sweep, functools.partial(observe.find, fresh=True))
        if problem := on_end.run(words, sweep, found.values()):
            say(f"warning: {problem}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
