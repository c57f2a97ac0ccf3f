"""The differences of a task's models to one of them, in test top-1, tested as differences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..comparison.difference import LEVEL, Difference
from ..comparison.paintings import Paintings, Resampled, compare_paintings
from ..comparison.seeds import compare_seeds
from ..statistics import FEWEST_SEEDS
from ..summary import Group
from .digits import percent, rounded
from .predicted import Tested

COVERS = {"seeds": "trainings", "paintings": "paintings", "both": "both"}


@dataclass(frozen=True)
class TaskModels:
    """The models of a task. `tested` holds the predictions of each run that has them, by its name."""

    task: str
    groups: Sequence[Group]
    tested: Mapping[str, Tested]

    @cached_property
    def _compared(self) -> dict[int, dict[int, Difference]]:
        """What `against` has found: the sections of a page ask for the same, and tests over many models take long."""
        return {}

    @cached_property
    def top1(self) -> dict[int, list[float]]:
        """The test top-1 of each complete seed, as shares, by the position of the model."""
        cells = {model: group.cells[self.task] for model, group in enumerate(self.groups) if self.task in group.cells}
        return {model: [score.test.top1 for score in cell.scores] for model, cell in cells.items() if cell.scores}

    @cached_property
    def best(self) -> int | None:
        """The model with the highest mean; the first of equal ones."""
        return max(self.top1, key=lambda model: float(np.mean(self.top1[model])), default=None)

    @cached_property
    def resampled(self) -> Resampled | None:
        """The paintings drawn again, for the models whose runs all predicted the same ones."""
        correct, first = {}, None
        for model in self.top1:
            runs = [run.name for run in self.groups[model].runs if self.task in run.scores]
            found = [self.tested[name] for name in runs if name in self.tested]
            first = first or next(iter(found), None)
            if first and len(found) == len(runs) and all(one.is_like(first) for one in found):
                correct[str(model)] = np.stack([one.answers == one.labels for one in found])
        return Resampled.draw(Paintings(first.groups, first.labels, correct)) if first and len(correct) > 1 else None

    def against(self, control: int) -> dict[int, Difference]:
        """The difference of each other model to the model `control`, by position.

        Models with three seeds or more are compared over trainings, in one family; where one of the two has fewer, over
        test paintings, in another one. Without predictions such a difference has neither interval nor p-value.
        """
        if control not in self._compared:
            self._compared[control] = self._compare(control)
        return self._compared[control]

    def _compare(self, control: int) -> dict[int, Difference]:
        if control not in self.top1:
            return {}
        enough = {str(model): scores for model, scores in self.top1.items() if len(scores) >= FEWEST_SEEDS}
        found: list[Difference] = []
        if str(control) in enough:
            found += compare_seeds(enough, str(control)).differences
        compared = {one.first for one in found}
        rest = [str(model) for model in self.top1 if model != control and str(model) not in compared]
        if rest and (drawn := self.resampled) and str(control) in drawn.paintings.correct:
            labels = [label for label in drawn.paintings.correct if label in (*rest, str(control))]
            found += compare_paintings(_only(drawn, labels), str(control)).differences if len(labels) > 1 else ()
        by_model = {int(one.first): one for one in found}
        return {
            model: self._named(by_model.get(model) or self._untested(model, control), model, control)
            for model in self.top1
            if model != control
        }

    @cached_property
    def level_with_best(self) -> set[int]:
        """The best model and those that cannot be told from it: their difference to it may be chance, or is untested.

        A test against a baseline that is fixed in advance, here against the model that happens to be best, leaves out a
        truly best one in at most 5 % of cases (multiple comparisons with the best: Hsu, Annals of Statistics 9, 1981).
        """
        if self.best is None:
            return set()
        others = self.against(self.best)
        return {self.best, *(model for model, one in others.items() if one.p_value is None or one.p_value >= LEVEL)}

    def _untested(self, model: int, control: int) -> Difference:
        first, second = self.top1[model], self.top1[control]
        mean = float(np.mean(first) - np.mean(second))
        return Difference("", "", "seeds", mean, None, None, "no test", (len(first), len(second)))

    def _named(self, one: Difference, model: int, control: int) -> Difference:
        return replace(one, first=self.groups[model].label, second=self.groups[control].label)


def _only(drawn: Resampled, labels: Iterable[str]) -> Resampled:
    of = drawn.paintings
    kept = {label: of.correct[label] for label in labels}
    return Resampled(Paintings(of.groups, of.labels, kept), drawn.units, {label: drawn.top1[label] for label in kept})


def differences(models: TaskModels, baseline: int) -> list[dict[str, Any]]:
    """The differences to the baseline, in points. `seeds` are those of runs with the same seed; published ones too."""
    found = []
    for model, one in models.against(baseline).items():
        low, high = one.interval or (None, None)
        found.append(
            {
                "model": model,
                "mean": percent(one.mean),
                "low": percent(low),
                "high": percent(high),
                "p": rounded(one.p_value),
                "method": one.method,
                "covers": COVERS[one.error],
                "seeds": [percent(of) for of in _paired(models, model, baseline)],
                "published": _published(models, model, baseline),
            }
        )
    return found


def _paired(models: TaskModels, model: int, baseline: int) -> list[float]:
    first, second = (_by_seed(models.groups[of], models.task) for of in (model, baseline))
    return [first[seed] - second[seed] for seed in first if seed in second]


def _by_seed(group: Group, task: str) -> dict[Any, float]:
    return {run.config.get("seed"): run.scores[task].test.top1 for run in group.runs if task in run.scores}


def _published(models: TaskModels, model: int, baseline: int) -> float | None:
    figures = [models.groups[of].cells[models.task].published for of in (model, baseline)]
    return rounded(figures[0][0] - figures[1][0]) if all(figures) else None
