"""The summary as a table on the terminal and as Markdown, and every run as CSV."""

import csv
import io
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from shards.streams import cell

from ..result import Scores
from . import wording
from .results import Run, Sweep
from .summary import Summary
from .terminal import NARROW, print_table

_ESCAPED = str.maketrans({char: f"\\{char}" for char in "\\|*`<[]"})
SCORES = tuple(f"{split}_{name}" for split in ("test", "val") for name in Scores.model_fields if name != "recall")
MADE = ("best_epoch", "parameters", "seconds")


def print_summary(
    sweep: Sweep, summary: Summary, answers: Sequence[str], notes: Sequence[str], console: Console
) -> None:
    """Print the table, the answers and notes below it, and the runs without a result."""
    tasks = [[task] for task in summary.tasks] if console.width < NARROW else [summary.tasks]
    for shown in tasks or [[]]:
        title = sweep.manifest.name if len(shown) == len(summary.tasks) else f"{sweep.manifest.name}: {shown[0]}"
        print_table(console, title, *_grid(summary, shown))
    for sentence in answers:
        console.print(Text(sentence))
    console.print()
    for sentence in notes:
        console.print(Text(sentence, style="dim"))
    if runs := wording.unfinished(sweep):
        console.print()
        width = max(len(run.name) for run in runs)
        for run in runs:
            # Not wrapped, so that names can be copied.
            line = f"{run.name:{width}}  {wording.state(run)}{f': {run.reason}' if run.reason else ''}"
            console.print(Text(line), soft_wrap=True)


def markdown(sweep: Sweep, summary: Summary, answers: Sequence[str], notes: Sequence[str]) -> str:
    """Format the table, the answers and notes below it, and the runs without a result as Markdown."""
    header, rows = _grid(summary, summary.tasks)
    lines = [f"# {escaped(sweep.manifest.name)}", "", escaped(sweep.manifest.arithmetic), ""]
    lines += [*pipes(header, rows, "--:"), ""]
    lines += [f"- {escaped(sentence)}" for sentence in (*answers, *notes)]
    if runs := wording.unfinished(sweep):
        lines += ["", "## Runs without a result", ""]
        unfinished = [[run.name, wording.state(run), run.reason] for run in runs]
        lines += pipes(["run", "state", "reason"], unfinished, "---")
    return "\n".join(lines) + "\n"


def results_csv(sweep: Sweep) -> str:
    """Format all runs as CSV: one line per run and task, with the varied keys and all scores.

    Scores are shares between 0 and 1, nll is in nats; they are empty without a result. The recall of each class is
    only in `result.json`.
    """
    varied = [key for key in sweep.varied if key != "task"]
    header = ["run", "state", "reason", *varied, "task", *SCORES, *MADE]
    file = io.StringIO()
    writer = csv.DictWriter(file, header, lineterminator="\n")
    writer.writerow({name: cell(name) for name in header})
    for run in sweep.runs:
        known = run.values | {"run": run.name, "state": run.state, "reason": run.reason}
        if run.result:
            known |= run.result.model_dump(include=set(MADE))
        # A run with unknown tasks has a line too.
        lines = (known | {"task": task} | scores_of(run, task) for task in run.tasks or ("",))
        writer.writerows({name: cell(value) for name, value in line.items()} for line in lines)
    return file.getvalue()


def scores_of(run: Run, task: str) -> dict[str, float]:
    if task not in run.scores:
        return {}
    splits = {"test": run.scores[task].test, "val": run.scores[task].val}
    scored = {f"{split}_{name}": value for split, scores in splits.items() for name, value in scores}
    return {name: scored[name] for name in SCORES}


def _grid(summary: Summary, tasks: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The cells of some tasks as text: a header, a row per model, and the majority class."""
    header = ["model"]
    for task in tasks:
        header += [task, "n", *(["published"] if summary.has_published[task] else [])]
    groups = [group for group in summary.groups if len(tasks) != 1 or tasks[0] in group.cells]
    rows = [[group.label] for group in groups]
    baseline = ["majority class"]
    for task in tasks:
        for row, group in zip(rows, groups, strict=True):
            cell = group.cells.get(task)
            row += [wording.with_error(cell.estimate), wording.seeds(cell)] if cell else [wording.NOTHING] * 2
            if summary.has_published[task]:
                row.append(wording.published(cell) if cell else wording.NOTHING)
        baseline += [wording.majority(summary, task), "", *([""] if summary.has_published[task] else [])]
    return header, [*rows, baseline]


def pipes(header: Sequence[str], rows: Sequence[Sequence[str]], rest: str) -> list[str]:
    """Format a table in Markdown; `rest` is the alignment of all columns but the first."""
    lines = [map(escaped, header), ("---", *[rest] * (len(header) - 1)), *(map(escaped, row) for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def escaped(text: str) -> str:
    return " ".join(text.split()).translate(_ESCAPED)
