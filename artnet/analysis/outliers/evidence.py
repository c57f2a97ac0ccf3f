"""Out-of-sample predictions of one task: those of the seeds averaged, those of the folds put together. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shards.errors import UserError

from ...predictions import Predicted, RunPredictions


@dataclass(frozen=True)
class Source:
    """The predictions of one run: `part` is what they are of, such as "fold 2" or empty, `name` the run's folder."""

    name: str
    part: str
    predictions: RunPredictions


@dataclass(frozen=True)
class Evidence:
    """What networks that were not trained on them say of n paintings, sorted by key.

    `keys` and `parts` str (n,): parts are val and test, or the folds, and paintings of one part were predicted by the
    same networks. `labels` int64 (n,); `probabilities` float64 (n, classes), the mean over the seeds' calibrated
    softmax.
    """

    task: str
    classes: list[str]
    data: str
    keys: np.ndarray
    parts: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each painting, int64 (n,)."""
        return np.asarray(self.probabilities.argmax(1))

    @property
    def rivals(self) -> np.ndarray:
        """The most probable class other than the given one, int64 (n,)."""
        others = self.probabilities.copy()
        others[np.arange(len(self)), self.labels] = -1
        return np.asarray(others.argmax(1))

    @property
    def margins(self) -> np.ndarray:
        """The probability of the given class minus that of its rival, -1 to 1, float64 (n,)."""
        rows = np.arange(len(self))
        return np.asarray(self.probabilities[rows, self.labels] - self.probabilities[rows, self.rivals])


def pool(task: str, sources: Sequence[Source]) -> Evidence:
    """Average the predictions of each painting for `task` over the sources that have it.

    A source with a part counts with its test split alone, as paintings of its val are tested on in another part. Raises
    `UserError` if the sources are not of the same paintings and classes, or not the same number has each painting.
    """
    first = sources[0].predictions.origin
    keys, parts, labels, probabilities = [], [], [], []
    for source in sources:
        origin = source.predictions.origin
        _check_same(task, sources[0], source)
        for split in ("test",) if source.part else ("val", "test"):
            found = _of(source, split, task)
            keys.append(found.keys)
            parts.append(np.full(len(found), source.part or split, object))
            labels.append(found.labels)
            probabilities.append(found.probabilities(origin.temperatures[task]))
    distinct, place, position, count = np.unique(
        np.concatenate(keys), return_index=True, return_inverse=True, return_counts=True
    )
    total = np.zeros((len(distinct), len(first.classes[task])))
    np.add.at(total, position, np.concatenate(probabilities))
    label, part = np.concatenate(labels)[place], np.concatenate(parts)[place].astype(str)
    if (count != count[0]).any() or (np.concatenate(labels) != label[position]).any():
        raise UserError(
            f"the runs such as {sources[0].name} have predictions of different paintings or labels; "
            "`python -m artnet.evaluate` makes them again where predictions.parquet is removed"
        )
    return Evidence(task, first.classes[task], first.data, distinct, part, label, total / count[:, None])


def _of(source: Source, split: str, task: str) -> Predicted:
    found = source.predictions.splits.get(split, {}).get(task)
    if found is None or task not in source.predictions.origin.temperatures:
        raise UserError(
            f"{source.name} has no predictions of {split} for {task}; remove its predictions.parquet and start "
            "`python -m artnet.evaluate` with it"
        )
    return found


def _check_same(task: str, first: Source, other: Source) -> None:
    one, two = first.predictions.origin, other.predictions.origin
    if one.classes.get(task) != two.classes.get(task):
        raise UserError(f"{other.name} has other classes of {task} than {first.name}; give runs of the same class file")
    if one.data != two.data:
        raise UserError(f"{other.name} was trained on other shards than {first.name}; give runs of the same shards")
