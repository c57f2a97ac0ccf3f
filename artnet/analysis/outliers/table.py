"""The ranked list as CSV."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from shards.streams import cell

from .ranking import Ranking

NEAREST = 3  # nearest paintings of the own and of the rival class that are named


def outliers_csv(ranking: Ranking) -> str:
    """A line for each painting, those that are most worth a look first.

    `margin` is the probability of the given class minus that of the rival, the most probable other one. Nearest
    paintings are named by their keys, with spaces between. Numbers have all their digits.
    """
    file = io.StringIO()
    lines = list(_lines(ranking))
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in line.items()} for line in lines)
    return file.getvalue()


def _lines(ranking: Ranking) -> Iterator[dict[str, Any]]:
    evidence, found = ranking.evidence, ranking.neighbours
    rivals, predicted, margins = evidence.rivals, evidence.predicted, evidence.margins
    names = evidence.classes
    for place, row in enumerate(ranking.order.tolist(), 1):
        label, rival, probabilities = int(evidence.labels[row]), int(rivals[row]), evidence.probabilities[row]
        yield {
            "rank": place,
            "key": str(evidence.keys[row]),
            "task": evidence.task,
            "split": str(evidence.parts[row]),
            "given": names[label],
            "predicted": names[int(predicted[row])],
            "rival": names[rival],
            "given_probability": float(probabilities[label]),
            "rival_probability": float(probabilities[rival]),
            "margin": float(margins[row]),
            "score": float(ranking.scores[row]),
            "label_quality": float(ranking.quality[row]),
            "doubted": int(ranking.doubted[row]),
            "own_distance": _number(found.own[row]) if found else "",
            "rival_distance": _number(found.rival[row]) if found else "",
            "nearest_own": _keys(ranking, found.nearest_own[row]) if found else "",
            "nearest_rival": _keys(ranking, found.nearest_rival[row]) if found else "",
        }


def _number(value: float) -> float | str:
    return "" if np.isnan(value) else float(value)


def _keys(ranking: Ranking, rows: np.ndarray) -> str:
    return " ".join(str(ranking.evidence.keys[row]) for row in rows[:NEAREST].tolist() if row >= 0)
