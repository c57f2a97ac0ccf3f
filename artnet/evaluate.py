"""`python -m artnet.evaluate RUN`: score a complete run's best epoch again, on its own shards or on others.

On the shards that the run was trained on it writes `predictions.parquet`, if there is none: runs of earlier versions
lack it. With `--shards OTHER` it scores the run on the val and test paintings of other shards, whose classes must all
be classes of the run, and writes nothing.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from shards.errors import UserError, command

from .analysis.statistics import wilson_interval
from .formats import NewerFormatError
from .heartbeat import shown
from .result import Result, Scores
from .rundir import RunDir

if TYPE_CHECKING:
    from .inference.trained import TrainedRun


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    said = (__doc__ or "").split("\n", 1)[0].split(": ", 1)[1]
    parser = argparse.ArgumentParser(prog="python -m artnet.evaluate", description=said)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a complete run")
    parser.add_argument("--shards", help="folder or URL of shards (default: those of the run's configuration)")
    args = parser.parse_args(argv)
    with shown("loading torch"):
        from .distributed.group import process_group
        from .inference.evaluation import evaluate
        from .inference.record import write_predictions
        from .inference.trained import TrainedRun

    with process_group() as ranks:
        for folder in args.runs:
            run = RunDir(folder.resolve())
            with shown(f"evaluating {run.name}"):
                trained = TrainedRun(run, ranks.device)
                index = trained.index(args.shards)
                found, own = evaluate(trained, index, ranks)
            if not ranks.is_first:
                continue
            if own and not _has_predictions(trained):
                write_predictions(run, own)
                print(f"{run.predictions_file} is written")
            scores = {
                (split, task): answers.scores() for split, tasks in found.items() for task, answers in tasks.items()
            }
            _show(scores, run.name if own else f"{run.name} on {index.folder}")
            if own and (differs := _differences(scores, trained.result)):
                print(f"result.json says otherwise, on another device or version of torch: {', '.join(differs)}")
    return 0


def _has_predictions(trained: "TrainedRun") -> bool:
    """Whether the run has its predictions, unbroken."""
    try:
        return bool(trained.predictions)
    except NewerFormatError:
        raise
    except UserError:
        return False


def _show(scores: Mapping[tuple[str, str], Scores], title: str) -> None:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("split", "task", "top-1", "95 %", "top-5", "macro-F1", "nll", "paintings"):
        table.add_column(column, justify="left" if column in ("split", "task") else "right", no_wrap=True)
    for (split, task), of in scores.items():
        low, high = wilson_interval(of.top1, of.n)
        shares = [f"{100 * of.top1:.1f} %", f"{100 * low:.1f} to {100 * high:.1f}", f"{100 * of.top5:.1f} %"]
        table.add_row(split, task, *shares, f"{of.macro_f1:.3f}", f"{of.nll:.3f}", f"{of.n:,}")
    Console().print(table)


def _differences(scores: Mapping[tuple[str, str], Scores], result: Result) -> list[str]:
    """Where the run's result has another top-1."""
    differs = []
    for (split, task), now in scores.items():
        before: Scores = getattr(result.tasks[task], split)
        if abs(before.top1 - now.top1) > 1e-6:
            differs.append(f"{split} {task} {100 * before.top1:.2f} %")
    return differs


if __name__ == "__main__":
    sys.exit(main())
