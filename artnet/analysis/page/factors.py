"""Factors: what each varied key is worth, from models that differ in that key alone."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from ..comparison.difference import LEVEL
from ..summary import Group, setting, value
from .digits import percent

MAX_SHOWN = 6  # contexts that are named

Context = tuple[tuple[str, str], ...]  # keys with their values as JSON


@dataclass(frozen=True)
class Cells:
    """The test top-1 of the seeds of each combination of values, as shares.

    `keys` are the varied keys; combinations hold a value for each as JSON. `base` is the baseline's combination.
    """

    keys: Sequence[str]
    of: Mapping[tuple[str, ...], np.ndarray]
    base: tuple[str, ...]

    def levels(self, key: int) -> list[str]:
        """The values of a key, that of the baseline first."""
        found = dict.fromkeys(combination[key] for combination in self.of)
        return sorted(found, key=lambda level: level != self.base[key])

    @cached_property
    def freedom(self) -> int:
        """The degrees of freedom of the pooled standard deviation."""
        return sum(len(scores) - 1 for scores in self.of.values())

    @cached_property
    def deviation(self) -> float:
        """The standard deviation over seeds, pooled over all combinations."""
        squares = sum(((scores - scores.mean()) ** 2).sum() for scores in self.of.values())
        return math.sqrt(squares / self.freedom) if self.freedom else math.nan


def factors(task: str, groups: Sequence[Group], baseline: int) -> list[dict[str, Any]]:
    """The effects of every key, and of pairs of keys, on a task's test top-1, in points."""
    cells = read_cells(task, groups, baseline)
    found: list[tuple[str, str, str, str, dict[Context, Contrast]]] = []
    for key, name in enumerate(cells.keys):
        base, *others = cells.levels(key) or [""]
        for level in others:
            if pairs := matched(cells, {key: (base, level)}):
                found.append((name, "", level, base, pairs))
    for first, second in itertools.combinations(range(len(cells.keys)), 2):
        for level, other in itertools.product(cells.levels(first)[1:], cells.levels(second)[1:]):
            bases = cells.levels(first)[0], cells.levels(second)[0]
            if pairs := matched(cells, {first: (bases[0], level), second: (bases[1], other)}):
                names = f"{cells.keys[first]} x {cells.keys[second]}"
                found.append((names, "interaction", _shown(level, other), _shown(*bases), pairs))
    counts = {name: sum(one[0] == name for one in found) for name, *_ in found}
    return [
        {
            "key": name,
            "task": task,
            "kind": kind or ("main effect" if is_complete(pairs) else "matched pairs"),
            "of": _contexts(pairs),
            "effects": [
                {
                    "level": level if kind else _shown(level),
                    "against": base if kind else _shown(base),
                    **_effect(cells, pairs, counts[name]),
                    "pairs": len(pairs),
                }
            ],
        }
        for name, kind, level, base, pairs in found
    ]


def read_cells(task: str, groups: Sequence[Group], baseline: int) -> Cells:
    """The combinations of the models that have a result on the task."""
    keys = list(dict.fromkeys(key for group in groups for key in group.runs[0].values if key not in ("seed", "task")))
    if len({len(group.runs[0].tasks) for group in groups}) > 1:
        keys.append("task")
    all_of = [tuple(json.dumps(group.runs[0].config.get(key), sort_keys=True) for key in keys) for group in groups]
    varied = [place for place in range(len(keys)) if len({of[place] for of in all_of}) > 1]
    found: dict[tuple[str, ...], list[float]] = {}
    for group, combination in zip(groups, all_of, strict=True):
        cell = group.cells.get(task)
        if cell and cell.scores:
            short = tuple(combination[place] for place in varied)
            found.setdefault(short, []).extend(score.test.top1 for score in cell.scores)
    base = tuple(all_of[baseline][place] for place in varied)
    return Cells([keys[place] for place in varied], {key: np.asarray(of) for key, of in found.items()}, base)


# For one context, the combinations with the sign that each has in the effect.
Contrast = list[tuple[tuple[str, ...], int]]


def matched(cells: Cells, changes: Mapping[int, tuple[str, str]]) -> dict[Context, Contrast]:
    """The contexts, values of the other keys, in which there are models for all levels of the changed keys.

    `changes` holds for a key the level that is compared with and the one compared; of two keys it is their interaction.
    """
    found: dict[Context, Contrast] = {}
    for combination in cells.of:
        if any(combination[key] != base for key, (base, _) in changes.items()):
            continue
        contrast: Contrast = []
        for moved in itertools.product((False, True), repeat=len(changes)):
            point = list(combination)
            for key, is_moved in zip(changes, moved, strict=True):
                point[key] = changes[key][is_moved]
            contrast.append((tuple(point), (-1) ** (len(changes) - sum(moved))))
        if all(point in cells.of for point, _ in contrast):
            found[tuple((cells.keys[key], of) for key, of in enumerate(combination) if key not in changes)] = contrast
    return found


def is_complete(pairs: Mapping[Context, Contrast]) -> bool:
    """Whether the contexts are all combinations of their values: then the models are a complete factorial part."""
    columns = list(zip(*pairs, strict=True))
    return math.prod(len(set(column)) for column in columns) == len(pairs) and (len(pairs) > 1 or not columns)


def _effect(cells: Cells, pairs: Mapping[Context, Contrast], family: int) -> dict[str, Any]:
    """The mean over contexts, with Student's t interval over seeds at Bonferroni's level for the key's effects."""
    parts = [(cells.of[point], sign) for contrast in pairs.values() for point, sign in contrast]
    mean = sum(sign * float(scores.mean()) for scores, sign in parts) / len(pairs)
    low = high = None
    if cells.freedom >= 2 and cells.deviation > 0:
        error = cells.deviation * math.sqrt(sum(1 / len(scores) for scores, _ in parts)) / len(pairs)
        half = float(stats.t.isf(LEVEL / 2 / family, cells.freedom)) * error
        low, high = mean - half, mean + half
    return {"mean": percent(mean), "low": percent(low), "high": percent(high)}


def _shown(*levels: str) -> str:
    return " and ".join(value(json.loads(level)) for level in levels)


def _contexts(pairs: Mapping[Context, Contrast]) -> str:
    """Which pairs of models these are: the values of the keys in which they are alike."""
    texts = list(_named(pairs))
    more = f" and {len(texts) - MAX_SHOWN} more" if len(texts) > MAX_SHOWN else ""
    return "; ".join(texts[:MAX_SHOWN]) + more


def _named(pairs: Mapping[Context, Contrast]) -> Iterator[str]:
    for context in pairs:
        if context:
            yield ", ".join(setting(key, json.loads(of)) for key, of in context)
