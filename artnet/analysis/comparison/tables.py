"""The comparison of models on one task: every family of differences that their runs allow."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..statistics import FEWEST_SEEDS
from .difference import Family
from .models import Model, check_classes, read_paintings
from .paintings import FEWEST_CROSSED, Paintings, Resampled, compare_both, compare_paintings
from .seeds import compare_seeds


@dataclass(frozen=True)
class Scored:
    """A model and the test top-1 of its runs, as shares."""

    label: str
    top1: tuple[float, ...]


@dataclass(frozen=True)
class TaskComparison:
    """The models with a result on a task, their families of differences, and notes. `baseline` None: all pairs."""

    task: str
    baseline: str | None
    models: tuple[Scored, ...]
    families: tuple[Family, ...]
    notes: tuple[str, ...]


def compare_task(task: str, models: Sequence[Model], baseline: str | None) -> TaskComparison:
    """Compare models on a task: with a baseline, or all pairs if it is None. Reads their predictions.

    Raises `UserError` if the runs cannot be compared.
    """
    present = [model for model in models if task in model.runs]
    absent = [model.label for model in models if task not in model.runs]
    notes = [f"No run of {', '.join(absent)} is complete."] if absent else []
    scored = tuple(Scored(model.label, tuple(run.top1(task) for run in model.runs[task])) for model in present)
    labels = [one.label for one in scored]
    if len(present) < 2 or (baseline is not None and baseline not in labels):
        return TaskComparison(task, baseline, scored, (), (*notes, "There is nothing to compare yet."))
    check_classes(task, present)
    families = []
    enough, note = _with_seeds(scored, baseline, FEWEST_SEEDS, "over seeds")
    if enough:
        families.append(compare_seeds({one.label: one.top1 for one in enough}, baseline))
    notes.append(note)
    paintings, note = read_paintings(task, present)
    notes.append(note)
    if paintings:
        resampled = Resampled.draw(paintings)
        families.append(compare_paintings(resampled, baseline))
        enough, note = _with_seeds(scored, baseline, FEWEST_CROSSED, "over seeds and paintings together")
        if enough:
            families.append(compare_both(_only(resampled, [one.label for one in enough]), baseline))
        if len(families) > 1:  # else the note on seeds says it
            notes.append(note)
    return TaskComparison(task, baseline, scored, tuple(families), tuple(note for note in notes if note))


def _with_seeds(models: Sequence[Scored], baseline: str | None, fewest: int, over: str) -> tuple[list[Scored], str]:
    """The models with enough seeds, none if there is no comparison of them, and a sentence on those that have fewer."""
    enough = [one for one in models if len(one.top1) >= fewest]
    few = [one for one in models if len(one.top1) < fewest]
    if len(enough) < 2 or (baseline is not None and all(one.label != baseline for one in enough)):
        return [], f"Not compared {over}: that needs {fewest} seeds of each model{_counts(few)}."
    return enough, f"Not compared {over}, with fewer than {fewest} seeds: {_names(few)}." if few else ""


def _counts(few: Sequence[Scored]) -> str:
    counts = sorted({len(one.top1) for one in few})
    return f", and there are {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))}" if counts else ""


def _names(models: Sequence[Scored]) -> str:
    return ", ".join(one.label for one in models)


def _only(resampled: Resampled, labels: Sequence[str]) -> Resampled:
    correct = {label: resampled.paintings.correct[label] for label in labels}
    of = resampled.paintings
    return Resampled(
        Paintings(of.groups, of.labels, correct), resampled.units, {label: resampled.top1[label] for label in labels}
    )
