"""The models that are compared: the complete runs of folders, and which test paintings they have right."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shards.errors import UserError
from shards.streams import harmless
from shards.tasks import in_order

from ... import predictions
from ...result import Result
from ...rundir import RunDir
from ..results import MANIFEST_NAME, Run, read_sweep
from ..summary import summarise
from .paintings import Paintings


@dataclass(frozen=True)
class Trained:
    """A complete run."""

    directory: RunDir
    result: Result

    def top1(self, task: str) -> float:
        """Test top-1, a share."""
        return self.result.tasks[task].test.top1


@dataclass(frozen=True)
class Model:
    """The complete runs of a model for each task, one per seed."""

    label: str
    runs: Mapping[str, tuple[Trained, ...]]


def read_models(folders: Sequence[Path]) -> tuple[list[Model], list[str]]:
    """The models in folders of sweeps, and each folder of a run as a model of its own. Also notes on what is missing.

    Raises `UserError` for a folder that is neither, or a run that is not complete.
    """
    folders = list({folder.resolve(): folder for folder in folders}.values())
    names = [folder.resolve().name for folder in folders]
    models: list[Model] = []
    notes: list[str] = []
    for folder, name in zip(folders, names, strict=True):
        label = harmless(name if names.count(name) == 1 else str(folder))
        if (folder / MANIFEST_NAME).exists():
            found, missing = _of_sweep(folder, f"{label}: " if len(folders) > 1 else "")
            models += found
            notes += missing
        else:
            models.append(_of_run(folder, label))
    return models, notes


def choose(models: Sequence[Model], labels: Sequence[str]) -> list[Model]:
    """The models with these labels, in this order. Raises `UserError` for a label that none has."""
    by_label = {model.label: model for model in models}
    for label in labels:
        if label not in by_label:
            near = difflib.get_close_matches(label, by_label, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(map(repr, by_label))}"
            raise UserError(f"no model is called {label!r}; {known}")
    return [by_label[label] for label in dict.fromkeys(labels)]


def check_classes(task: str, models: Sequence[Model]) -> None:
    """Raise `UserError` if two runs have other numbers of classes for a task."""
    runs = [run for model in models for run in model.runs[task]]
    for run in runs[1:]:
        classes, other = (one.result.tasks[task].classes for one in (runs[0], run))
        if classes != other:
            raise UserError(_other_classes(task, runs[0], run, f"{classes} and {other}"))


def read_paintings(task: str, models: Sequence[Model]) -> tuple[Paintings | None, str]:
    """The test paintings of a task; None, and a sentence why, if they cannot be compared.

    Raises `UserError` if predictions are broken or of other classes.
    """
    runs = [run for model in models for run in model.runs[task]]
    if len({run.result.data for run in runs}) > 1:
        return None, (
            "The runs were tested on different shards: paintings are not compared, and a difference between the models "
            "may be one between the shards."
        )
    if without := [run for run in runs if not run.directory.predictions_file.exists()]:
        which = f"{len(without)} of {len(runs)} runs {'has' if len(without) == 1 else 'have'}"
        return None, (
            f"Paintings are not compared, as {which} no predictions.parquet: "
            f"`python -m artnet.evaluate {harmless(str(without[0].directory.path))}` makes it."
        )
    origin, first = _read(runs[0], task)
    correct = {}
    for model in models:
        rows = []
        for run in model.runs[task]:
            its_origin, one = _read(run, task)
            if its_origin.classes[task] != origin.classes[task]:
                raise UserError(_other_classes(task, runs[0], run, "by name"))
            if not (np.array_equal(one.keys, first.keys) and np.array_equal(one.labels, first.labels)):
                raise UserError(
                    f"{run.directory.predictions_file} has other test paintings or labels of {task} than "
                    f"{runs[0].directory.predictions_file}; `python -m artnet.evaluate RUN` makes them again"
                )
            rows.append(one.correct)
        correct[model.label] = np.stack(rows)
    return Paintings(first.groups, first.labels, correct), ""


def _read(run: Trained, task: str) -> tuple[predictions.Origin, predictions.Predicted]:
    """A run's predictions for the test paintings of a task, sorted by key."""
    file = run.directory.predictions_file
    found = predictions.read(file, run.result.signature)
    one = found.splits.get("test", {}).get(task)
    if one is None or found.origin.data != run.result.data:
        what = f"has no test paintings of {task}" if one is None else "is of other shards than result.json"
        raise UserError(f"{file} {what}; `python -m artnet.evaluate {run.directory.path}` makes it again")
    order = np.argsort(one.keys)
    sorted_rows = predictions.Predicted(one.keys[order], one.groups[order], one.labels[order], one.logits[order])
    return found.origin, sorted_rows


def _other_classes(task: str, first: Trained, second: Trained, how: str) -> str:
    return (
        f"{first.directory.path} and {second.directory.path} have other classes of {task} ({how}); "
        "compare runs on shards that were packed with the same class file"
    )


def _of_run(folder: Path, label: str) -> Model:
    run = RunDir(folder)
    if error := run.unreadable():
        raise UserError(f"{error.filename} cannot be read ({error.strerror}); compare another run")
    if not any(file.exists() for file in (run.config_file, run.result_file, run.run_file)):
        raise UserError(f"{folder} is neither a run nor a sweep; give folders of runs, runs/NAME/RUN, or runs/NAME")
    result = run.result()
    if result is None:
        state = harmless(run.state().state).replace("_", " ")
        known = f" ({state})" if state and state != "complete" else ""
        raise UserError(f"{folder} is not complete{known}; start it again to finish it, or compare another run")
    runs = (Trained(run, result),)
    return Model(label, {str(task): runs for task in in_order(result.tasks)})


def _of_sweep(folder: Path, prefix: str) -> tuple[list[Model], list[str]]:
    """The models of a sweep, that which its grid calls the baseline first, and notes on what is missing."""
    sweep = read_sweep(folder)
    summary = summarise(sweep)
    models = []
    for group in sorted(summary.groups, key=lambda group: group is not summary.groups[summary.baseline]):
        tasks = in_order(task for run in group.runs for task in run.tasks)
        found = {task: _trained(group.runs, task) for task in tasks}
        models.append(Model(f"{prefix}{group.label}", {task: runs for task, runs in found.items() if runs}))
    notes = []
    if missing := sum(run.result is None for run in sweep.runs):
        which = "run is" if missing == 1 else "runs are"
        notes.append(f"{folder}: of {len(sweep.runs)} runs, {missing} {which} not complete and left out.")
    if not any(model.runs for model in models):
        raise UserError(f"no run of {folder} is complete; compare when some are")
    return models, notes


def _trained(runs: Sequence[Run], task: str) -> tuple[Trained, ...]:
    return tuple(Trained(run.directory, run.result) for run in runs if run.result and task in run.result.tasks)
