"""Classes: the recall of each, and what is taken for what."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..statistics import estimate
from .digits import percent, rounded
from .predicted import Tested

COMMONEST, KEYS = 10, 12  # confusions of a model that are listed, and paintings of each


def classes(models: Sequence[Sequence[Tested]]) -> dict[str, Any] | None:
    """The classes of a task by the runs of each model; None without predictions.

    Runs of other classes or test paintings than the first have no part: they cannot be compared class by class.
    """
    first = next((run for runs in models for run in runs), None)
    if first is None:
        return None
    alike = [[run for run in runs if run.is_like(first)] for runs in models]
    return {
        "names": list(first.classes),
        "support": first.support.tolist(),
        "recall": [_recall(runs) for runs in alike],
        "confusion": [_confusion(runs) for runs in alike],
        "commonest": [_commonest(runs) for runs in alike],
    }


def _recall(runs: Sequence[Tested]) -> list[list[Any] | None] | None:
    """Mean recall and 95 % interval of each class: Student's t over seeds, or Wilson's over its paintings."""
    if not runs:
        return None
    shares = [np.diagonal(run.confusion) / np.maximum(run.support, 1) for run in runs]
    found: list[list[Any] | None] = []
    for number, support in enumerate(runs[0].support.tolist()):
        if not support:
            found.append(None)
            continue
        one = estimate([float(of[number]) for of in shares], support)
        found.append([percent(one.mean), *map(percent, one.interval or (None, None))])
    return found


def _confusion(runs: Sequence[Tested]) -> list[list[Any]] | None:
    """The confusion matrix in per cent of each class's paintings, the mean over runs."""
    if not runs:
        return None
    shares = _counts(runs) / np.maximum(runs[0].support, 1)[:, None]
    return [[percent(share) for share in row] for row in shares.tolist()]


def _counts(runs: Sequence[Tested]) -> np.ndarray:
    return np.asarray(np.mean([run.confusion for run in runs], axis=0))


def _commonest(runs: Sequence[Tested]) -> list[dict[str, Any]]:
    """The confusions of most paintings, with the paintings that most runs have wrong in this way."""
    if not runs:
        return []
    counts = _counts(runs)
    np.fill_diagonal(counts, 0)
    pairs = np.argsort(-counts, axis=None, kind="stable")[:COMMONEST]
    support = runs[0].support
    return [
        {
            "true": int(true),
            "predicted": int(answer),
            "count": rounded(float(counts[true, answer])),
            "share": percent(float(counts[true, answer] / support[true])),
            "keys": list(_keys(runs, true, answer)),
        }
        for true, answer in zip(*np.unravel_index(pairs, counts.shape), strict=True)
        if counts[true, answer]
    ]


def _keys(runs: Sequence[Tested], true: int, answer: int) -> Iterable[str]:
    times = np.sum([run.answers == answer for run in runs], axis=0) * (runs[0].labels == true)
    order = np.argsort(-times, kind="stable")[:KEYS]
    return (str(runs[0].keys[place]) for place in order if times[place])
