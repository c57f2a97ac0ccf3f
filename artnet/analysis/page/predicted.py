"""What the page needs of the runs' predictions of the test split, read once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards.errors import UserError

from ... import predictions
from ...predictions import Predicted, RunPredictions
from ..results import Run


@dataclass(frozen=True)
class Tested:
    """A run's predictions for the n test paintings of a task, sorted by key.

    `keys` str (n,); `groups` int64 (n,): near-duplicates; `labels`, `answers` int64 (n,): class indices; `confidence`,
    `calibrated` float64 (n,): the largest probability, before and after the logits are divided by `temperature`.
    `classes` are the names.
    """

    classes: Sequence[str]
    keys: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    answers: np.ndarray
    confidence: np.ndarray
    calibrated: np.ndarray
    temperature: float

    def is_like(self, other: "Tested") -> bool:
        """Whether both are of the same classes, paintings and labels."""
        same_classes = list(self.classes) == list(other.classes)
        return same_classes and np.array_equal(self.keys, other.keys) and np.array_equal(self.labels, other.labels)

    @property
    def support(self) -> np.ndarray:
        """The number of test paintings of each class, int64 (classes,)."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def confusion(self) -> np.ndarray:
        """Counts of labels (rows) by answers (columns), int64 (classes, classes)."""
        n = len(self.classes)
        return np.bincount(self.labels * n + self.answers, minlength=n * n).reshape(n, n)


@dataclass(frozen=True)
class Predictions:
    """The predictions of a sweep's runs by the name of the run and task; `notes` say what is missing."""

    of: dict[str, dict[str, Tested]]
    notes: list[str]


def read_predictions(runs: Sequence[Run]) -> Predictions:
    """Read the predictions of the complete runs. A run whose file is missing or broken has none, and is noted."""
    found: dict[str, dict[str, Tested]] = {}
    missing, broken = [], []
    for run in runs:
        if run.result is None:
            continue
        if not run.directory.predictions_file.exists():
            missing.append(run)
            continue
        try:
            one = predictions.read(run.directory.predictions_file, run.result.signature)
        except UserError as error:
            broken.append(str(error))
            continue
        if one.origin.data == run.result.data:
            found[run.name] = _tested(one)
        else:
            file = run.directory.predictions_file
            broken.append(f"{file} is of other shards than result.json; `python -m artnet.evaluate {file.parent}`")
    return Predictions(found, [*_missing(missing), *broken])


def _tested(run: RunPredictions) -> dict[str, Tested]:
    return {
        task: _task(one, run.origin.classes[task], run.origin.temperatures.get(task, 1.0))
        for task, one in run.splits.get("test", {}).items()
    }


def _task(one: Predicted, classes: Sequence[str], temperature: float) -> Tested:
    order = np.argsort(one.keys)
    keys, groups, labels = one.keys[order], one.groups[order], one.labels[order]
    confidence, calibrated = (one.probabilities(by).max(1)[order] for by in (1.0, temperature))
    answers = one.logits.argmax(1)[order]
    return Tested(classes, keys, groups, labels, answers, confidence, calibrated, temperature)


def _missing(runs: Sequence[Run]) -> list[str]:
    if not runs:
        return []
    count = f"{len(runs)} complete run has" if len(runs) == 1 else f"{len(runs)} complete runs have"
    folders = " ".join(str(run.directory.path) for run in runs[:1])
    more = ", and so for the others" if len(runs) > 1 else ""
    return [f"{count} no predictions.parquet; `python -m artnet.evaluate {folders}` makes it{more}."]
