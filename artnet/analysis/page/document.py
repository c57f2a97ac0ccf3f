"""The page's data: one object of JSON with all that a sweep's report shows."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shards.files import read_bounded
from shards.streams import harmless

from ... import provenance
from ...config import MAX_BYTES
from ..origin import origin
from ..results import Run, Sweep
from ..search.importance import importance
from ..search.trials import read_search
from ..summary import Summary, summarise
from ..wording import cautions, states
from .answer import answer
from .calibration import calibration
from .classes import classes
from .cost import cost
from .curves import curves
from .differences import TaskModels, differences
from .factors import factors
from .method import method
from .predicted import Predictions, Tested, read_predictions
from .resources import Resources, resources
from .runs import reasons, run_row
from .search import search_data
from .thumbnails import thumbnails


def page_data(sweep: Sweep, has_thumbnails: bool = False) -> dict[str, Any]:
    """All numbers of the page. Shares are in per cent, with four significant digits; what is unknown is None.

    A search has no figures on test, but for the configurations that were confirmed. With `has_thumbnails`, small
    pictures of the paintings below the confusions are read from the shards.
    """
    summary, search = summarise(sweep), read_search(sweep)
    records = {run.name: run.directory.run() for run in sweep.runs}
    epochs = {run.name: run.directory.epochs() for run in sweep.runs}
    used = {run.name: resources(run, records[run.name], epochs[run.name]) for run in sweep.runs}
    model_of = {run.name: model for model, group in enumerate(summary.groups) for run in group.runs}
    tested = {run.name for run in sweep.runs} if search is None else {one.run.name for one in search.confirming}
    base = _base(summary.groups[summary.baseline].runs)
    results: dict[str, Any] = (
        {"search": search_data(search, importance(search))}
        if search
        else _on_test(summary, sweep, used, has_thumbnails)
    )
    compared = base.config if base else {}
    made = datetime.fromisoformat(provenance.now())
    return {
        "kind": "search" if search else "grid",
        "name": sweep.manifest.name,
        "made": made.isoformat(),
        "tasks": summary.tasks,
        "baseline": summary.baseline,
        "models": [{"label": group.label, "values": _values(group.runs[0])} for group in summary.groups],
        "facts": [f"{made.day} {made:%B %Y, %H:%M} UTC", *_facts(sweep, used)],
        **results,
        "curves": [
            {"run": number, "model": model_of[run.name], **curve}
            for number, run in enumerate(sweep.runs)
            for curve in curves(epochs[run.name], run.tasks)
        ],
        "runs": [
            run_row(run, model_of[run.name], compared, records[run.name], used[run.name], run.name in tested)
            | {"folder": sweep.link(run)}
            for run in sweep.runs
        ],
        "config": {"base": _text(base), "run": base.name if base else ""},
        "reasons": reasons(sweep.runs),
        "about": [[name, lines] for name, lines in origin(sweep)],
        **method(search is not None, [*results.get("missing", []), *([] if search else cautions(sweep, summary))]),
    }


def _on_test(summary: Summary, sweep: Sweep, used: Mapping[str, Resources], has_thumbnails: bool) -> dict[str, Any]:
    """The sections of a grid that compare models on test."""
    predicted = read_predictions(sweep.runs)
    models = {task: TaskModels(task, summary.groups, _of_task(predicted, task)) for task in summary.tasks}
    compared = {task: differences(models[task], summary.baseline) for task in summary.tasks}
    by_class = _by_class(summary, predicted)
    pictures, without = thumbnails(sweep.runs, by_class["classes"]) if has_thumbnails else ({}, [])
    return {
        "answer": answer(summary, models, summary.baseline),
        "differences": compared if any(compared.values()) else {},
        "factors": [one for task in summary.tasks for one in factors(task, summary.groups, summary.baseline)],
        "cost": cost(summary.groups, used),
        **by_class,
        "thumbnails": pictures,
        "missing": [*predicted.notes, *without],
    }


def _values(run: Run) -> dict[str, Any]:
    return {key: of for key, of in run.values.items() if key not in ("seed", "task")}


def _base(runs: Sequence[Run]) -> Run | None:
    """The run whose configuration others are compared with: the first of the baseline that has one."""
    return next((run for run in runs if _text(run)), None)


def _text(run: Run | None) -> str:
    """The configuration of a run as it is written; empty if it cannot be read."""
    try:
        return harmless(read_bounded(run.directory.config_file, MAX_BYTES).decode(errors="replace")) if run else ""
    except OSError:
        return ""


def _facts(sweep: Sweep, used: Mapping[str, Resources]) -> list[str]:
    """What stands below the title: how many runs in which states, for how long, on which data."""
    count = len(sweep.runs)
    found = [f"{count} {'run' if count == 1 else 'runs'}: {states(sweep.runs)}"]
    hours: dict[str, float] = {}
    for one in used.values():
        if one.device_hours is not None:
            hours[one.device] = hours.get(one.device, 0) + one.device_hours
    found += [f"{_time(total)} of {'CPU' if device == 'cpu' else device}" for device, total in hours.items()]
    data = dict.fromkeys(run.result.data[:16] for run in sweep.runs if run.result)
    return found + ([f"data {' and '.join(data)}"] if data else [])


def _time(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 2 else f"{60 * hours:.0f} minutes"


def _of_task(predicted: Predictions, task: str) -> dict[str, Tested]:
    return {name: tasks[task] for name, tasks in predicted.of.items() if task in tasks}


def _by_class(summary: Summary, predicted: Predictions) -> dict[str, Any]:
    """The sections that need predictions."""
    by_class, calibrated = {}, {}
    for task in summary.tasks:
        models = [
            [predicted.of[run.name][task] for run in group.runs if task in predicted.of.get(run.name, {})]
            for group in summary.groups
        ]
        if (found := classes(models)) is not None:
            by_class[task] = found
            calibrated[task] = [calibration(runs) for runs in models]
    return {"classes": by_class, "calibration": calibrated}
