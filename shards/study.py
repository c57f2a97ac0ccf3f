"""The splits of the study: fixed sizes per task, and one role per painting across all tasks. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .labels import Painting
from .stratify import balanced_sample, class_quotas, shuffle_key
from .tasks import COMBINED, TASKS, UNLABELLED


@dataclass(frozen=True)
class Sizes:
    """How many paintings are in train, val and test, out of a pool of `pool` paintings.

    The pool is the task's official train list, or for `combined` the paintings that are in all three train lists.
    """

    train: int
    val: int
    test: int
    pool: int

    def scaled(self, pool: int) -> "Sizes":
        """Return sizes that are the same shares of a smaller pool."""
        share = min(1.0, pool / self.pool)
        return Sizes(int(self.train * share), round(self.val * share), round(self.test * share), pool)


STUDY = {
    "artist": Sizes(11_000, 1_000, 1_000, 13_346),
    "style": Sizes(30_000, 1_000, 1_000, 57_025),
    "genre": Sizes(30_000, 1_000, 1_000, 45_503),
    COMBINED: Sizes(10_000, 500, 500, 11_276),
}


def study_splits(
    paintings: Sequence[Painting], seed: int = 0, groups: Sequence[str] | None = None
) -> list[dict[str, str]]:
    """Draw the study's splits from the official train lists, stratified by class.

    A painting has one role across all tasks: no task trains on what another one evaluates on. `groups` names the group
    of near-duplicates of each painting: these share a role too. With fewer paintings than in the lists, all sizes
    shrink in proportion.

    Returns one mapping per painting, as `splits.artgan_splits` does.
    """
    order = sorted(range(len(paintings)), key=lambda row: shuffle_key(seed, paintings[row].path))
    pool = _Pool([paintings[row] for row in order], [groups[row] for row in order] if groups else None)
    # The combined sets come first: the fewest paintings qualify for them, and these then serve every task.
    for role in ("test", "val"):
        pool.choose_combined(role)
    for task in ("artist", "genre", "style"):
        for role in ("test", "val"):
            pool.choose(task, role)
    pool.choose_train()
    splits: list[dict[str, str]] = [{} for _ in paintings]
    for position, row in enumerate(order):
        splits[row] = {name: str(pool.split[name][position]) for name in STUDY}
    return splits


class _Pool:
    """The shuffled paintings, the role that each has so far, and the splits made from them."""

    def __init__(self, paintings: Sequence[Painting], groups: Sequence[str] | None) -> None:
        # int (paintings, tasks); only labels from the official train lists count.
        trained = [
            [p.labels[task] if p.listed.get(task) == "train" else UNLABELLED for task in TASKS] for p in paintings
        ]
        self.labels = np.array(trained).reshape(len(paintings), len(TASKS))
        self.listed = {task: self.labels[:, column] != UNLABELLED for column, task in enumerate(TASKS)}
        self.listed[COMBINED] = (self.labels != UNLABELLED).all(1)
        self.group = np.unique(groups, return_inverse=True)[1] if groups else np.arange(len(paintings))
        self.role = np.full(len(paintings), "", "<U5")
        self.split = {name: np.full(len(paintings), "", "<U5") for name in STUDY}
        self.sizes = {name: sizes.scaled(int(self.listed[name].sum())) for name, sizes in STUDY.items()}

    def choose_combined(self, role: str) -> None:
        """Choose the paintings of `role` for the combined model, stratified by the classes of all three tasks."""
        size = getattr(self.sizes[COMBINED], role)
        chosen = self._stratified(np.flatnonzero(self.listed[COMBINED] & (self.role == "")), size)
        self._assign(role, chosen)
        self.split[COMBINED][chosen] = role

    def choose(self, task: str, role: str) -> None:
        """Choose the paintings of `role` for a task, class by class.

        Paintings that have this role already come first, then those that the train sets can best do without.
        """
        labels = self.labels[:, TASKS.index(task)]
        quotas = class_quotas(np.bincount(labels[self.listed[task]]), getattr(self.sizes[task], role))
        for label, quota in enumerate(quotas):
            of_class = labels == label
            has_role = np.flatnonzero(of_class & (self.role == role))[:quota]
            free = np.flatnonzero(of_class & (self.role == ""))
            # The train sets of `combined` and `artist` need nearly all of their pools, so these are taken last.
            cost = 2 * self.listed[COMBINED][free] + self.listed["artist"][free]
            new = free[np.argsort(cost, kind="stable")][: quota - len(has_role)]
            self._assign(role, new)
            self.split[task][has_role] = role
            self.split[task][new] = role

    def choose_train(self) -> None:
        """Fill every train set from the paintings that are not in val or test."""
        free = self.role == ""
        for column, task in enumerate(TASKS):
            rows = np.flatnonzero(free & self.listed[task])
            size = min(self.sizes[task].train, len(rows))
            labels = self.labels[rows, column]
            quotas = class_quotas(np.bincount(self.labels[self.listed[task], column]), size)
            within = np.zeros(len(rows), bool)
            for label, quota in enumerate(quotas):
                within[np.flatnonzero(labels == label)[:quota]] = True
            # If val and test have used up a class, the other classes take its places.
            within[np.flatnonzero(~within)[: size - within.sum()]] = True
            self.split[task][rows[within]] = "train"
        rows = np.flatnonzero(free & self.listed[COMBINED])
        self.split[COMBINED][self._stratified(rows, min(self.sizes[COMBINED].train, len(rows)))] = "train"

    def _assign(self, role: str, rows: np.ndarray) -> None:
        """Give paintings and their near-duplicates a role."""
        self.role[np.isin(self.group, self.group[rows])] = role

    def _stratified(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Choose `size` of `rows` such that the classes of each task have the same shares as in the combined pool."""
        pool = self.labels[self.listed[COMBINED]]
        counts = [np.bincount(pool[:, column]) for column in range(len(TASKS))]
        if 2 * size <= len(rows):
            return rows.take(balanced_sample(self.labels[rows], [class_quotas(c, size) for c in counts], size))
        # It is quicker to choose the smaller part, which is left out.
        here = [np.bincount(self.labels[rows, c], minlength=len(count)) for c, count in enumerate(counts)]
        surplus = [have - class_quotas(count, size) for have, count in zip(here, counts, strict=True)]
        return np.setdiff1d(rows, rows[balanced_sample(self.labels[rows], surplus, len(rows) - size)])
