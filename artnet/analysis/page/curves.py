"""Learning curves: val top-1 of each task and the training loss, by epoch."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from .digits import rounded

POINTS = 200  # of a curve


def curves(epochs: Sequence[dict[str, Any]], tasks: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The curves of a run from the lines of metrics.jsonl that close an epoch. Top-1 is in per cent."""
    for metric, scale in [*((f"val/{task}/top1", 100) for task in tasks), ("train/loss", 1)]:
        pairs = [(line["epoch"], scale * line[metric]) for line in epochs if math.isfinite(line.get(metric, math.nan))]
        if pairs:
            x, y = zip(*thinned(pairs), strict=True)
            yield {"metric": metric, "x": list(x), "y": [rounded(value) for value in y]}


def thinned(points: Sequence[Any]) -> Sequence[Any]:
    """At most `POINTS` of the points, evenly spaced, with the first and the last."""
    if len(points) <= POINTS:
        return points
    return [points[round(place * (len(points) - 1) / (POINTS - 1))] for place in range(POINTS)]
