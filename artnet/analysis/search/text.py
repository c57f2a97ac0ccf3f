"""A search on the terminal, as Markdown, and all of its runs as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from shards.streams import cell

from ..results import Run
from ..table import MADE, SCORES, escaped, pipes, scores_of
from ..terminal import print_table
from .sections import Section
from .trials import Search, Trial

_ASKED = ("number", "searcher", "seed", "confirms", "epochs", "planned_epochs", "metric")


def print_search(search: Search, sections: Iterable[Section], console: Console) -> None:
    """Print the sections of a search."""
    console.print(Text(search.sweep.manifest.name, style="bold"))
    for section in sections:
        console.print()
        if section.rows:
            print_table(console, section.title, section.header, section.rows, words=section.header)
        else:
            console.print(Text(section.title))
        for sentence in section.notes:
            console.print(Text(sentence, style="dim"))


def markdown(search: Search, sections: Iterable[Section]) -> str:
    """Format the sections of a search as Markdown."""
    manifest = search.sweep.manifest
    lines = [f"# {escaped(manifest.name)}", "", escaped(manifest.arithmetic), ""]
    for section in sections:
        lines += [f"## {escaped(section.title)}", ""]
        if section.rows:
            lines += [*pipes(section.header, section.rows, "---"), ""]
        lines += [*(f"- {escaped(sentence)}" for sentence in section.notes), ""]
    return "\n".join(lines)


def results_csv(search: Search) -> str:
    """Format all runs as CSV, one line each: what was asked, the metric on val, and the varied keys.

    `metric` is the value that the search ranks by. Scores are those of `results.csv` of any sweep; their names begin
    with the task where a run has several. Those on test are empty but for the runs that confirm a configuration.
    """
    sweep = search.sweep
    tasks = list(dict.fromkeys(task for run in sweep.runs for task in run.tasks))
    names = {(task, name): f"{task}_{name}" if len(tasks) > 1 else name for task in tasks for name in SCORES}
    varied = [key for key in sweep.varied if key not in ("task", *_ASKED)]
    header = ["run", "state", "reason", *_ASKED, *varied, "task", *names.values(), *MADE]
    asked = {trial.run.name: trial for trial in (*search.trials, *search.confirming)}
    file = io.StringIO()
    writer = csv.DictWriter(file, header, lineterminator="\n")
    writer.writeheader()
    for run in sweep.runs:
        trial = asked.get(run.name)
        values = {key: value for key, value in run.values.items() if key in varied}
        line = {"run": run.name, "state": run.state, "reason": run.reason, **values, "task": " + ".join(run.tasks)}
        line |= _asked(trial) if trial else {}
        line |= run.result.model_dump(include=set(MADE)) if run.result else {}
        line |= {names[key]: value for key, value in _scores(run, trial).items()}
        writer.writerow({name: cell(value) for name, value in line.items()})
    return file.getvalue()


def _asked(trial: Trial) -> Mapping[str, Any]:
    confirms = "" if trial.confirms is None else trial.confirms
    metric = trial.score if math.isfinite(trial.score) else ""
    given = (trial.n, trial.searcher, trial.run.config.get("seed", ""), confirms, trial.epochs, trial.planned, metric)
    return dict(zip(_ASKED, given, strict=True))


def _scores(run: Run, trial: Trial | None) -> dict[tuple[str, str], float]:
    """The scores of a run by task and name: on val, and on test if it confirms a configuration."""
    has_test = trial is not None and trial.confirms is not None
    scored = {(task, name): value for task in run.scores for name, value in scores_of(run, task).items()}
    return {key: value for key, value in scored.items() if has_test or not key[1].startswith("test_")}
