"""`python -m artnet.compare A B`: the differences in test top-1 between runs, or between the models of a sweep.

    python -m artnet.compare runs/NAME/RUN1 runs/NAME/RUN2        two runs, on the same test paintings
    python -m artnet.compare runs/NAME                            each model of a sweep against its baseline
    python -m artnet.compare runs/NAME --pairs                    all pairs of its models
    python -m artnet.compare runs/NAME --models ResNet50 "ResNet50 + SE"

Each difference has a 95 % interval and a p-value over other trainings (from 3 seeds), over other test paintings, and
over both (from 5 seeds), corrected for the number of comparisons on the task. Reads run directories only.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from shards.errors import UserError, command
from shards.files import atomic_write
from shards.tasks import in_order

from .analysis.comparison.models import Model, choose, read_models
from .analysis.comparison.tables import compare_task
from .analysis.comparison.wording import as_json, print_comparison
from .heartbeat import shown


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    arguments = _parser().parse_args(argv)
    models, notes = read_models(arguments.folders)
    if arguments.models:
        models = choose(models, [*([arguments.baseline] if arguments.baseline else []), *arguments.models])
    if len(models) < 2:
        raise UserError("there is only one model; give another run, or a sweep with several models")
    baseline = None if arguments.pairs else choose(models, [arguments.baseline or models[0].label])[0].label
    tasks = _tasks(models, arguments.task)

    comparisons = []
    for task in tasks:
        with shown(f"comparing models on {task}", sys.stderr):
            comparisons.append(compare_task(task, models, baseline))
    if arguments.json:
        text = json.dumps(as_json(comparisons, notes), indent=2, ensure_ascii=False) + "\n"
        if arguments.json == "-":
            sys.stdout.write(text)
            return 0
        atomic_write(Path(arguments.json), text)
    console = Console()
    for comparison in comparisons:
        print_comparison(comparison, console)
    for note in notes:
        console.print(Text(note, style="dim"), soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m artnet.compare",
        description=(__doc__ or "").split(": ", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="folder of a run, or of a sweep")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--baseline",
        metavar="LABEL",
        help="the model that others are compared with (default: the grid's baseline, else the first)",
    )
    which.add_argument("--pairs", action="store_true", help="compare all pairs of models")
    parser.add_argument("--models", nargs="+", metavar="LABEL", help="only these models, named as in the sweep's table")
    parser.add_argument("--task", nargs="+", metavar="TASK", help="only these tasks")
    parser.add_argument("--json", metavar="FILE", help="write the comparisons as JSON too; -: print them alone")
    return parser


def _tasks(models: Sequence[Model], wanted: Sequence[str] | None) -> list[str]:
    """The tasks to compare: those of two models or more. Raises `UserError` if there is none, or one is unknown."""
    known = in_order(task for model in models for task in model.runs)
    for task in wanted or ():
        if task not in known:
            raise UserError(f"no run has a result on {task!r}; the tasks are {', '.join(known)}")
    if not any(sum(task in model.runs for model in models) > 1 for task in wanted or known):
        raise UserError(f"no two models have a complete run of the same task; there are {', '.join(known)}")
    return list(dict.fromkeys(wanted)) if wanted else known


if __name__ == "__main__":
    raise SystemExit(main())
