"""The splits of the study: fixed sizes for each task, and one role for each painting over all tasks. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .labels import TASKS, UNLABELLED, Painting
from .stratify import balanced_sample, class_quotas, draw

COMBINED = "combined"


@dataclass(frozen=True)
class Sizes:
    """Paintings in train, val and test, out of `pool`: ArtGAN's train list, or what all three of them share."""

    train: int
    val: int
    test: int
    pool: int

    def of(self, pool: int) -> "Sizes":
        """The same shares of a smaller pool."""
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
    """The study's splits, drawn from the official train lists, stratified by class.

    A painting has one role over all tasks: what one task evaluates on, no task trains on. `groups` says which
    paintings are copies of one another (they have the same string): these share a role too. With fewer paintings
    than the lists name, all sizes shrink in proportion.

    Returns one mapping for each painting, as `splits.artgan_splits` does.
    """
    order = sorted(range(len(paintings)), key=lambda row: draw(seed, paintings[row].path))
    pool = _Pool([paintings[row] for row in order], [groups[row] for row in order] if groups else None)
    # The combined sets come first, as the fewest paintings can be in them, and each then serves every task.
    for role in ("test", "val"):
        pool.choose_combined(role)
    for task in ("artist", "genre", "style"):
        for role in ("test", "val"):
            pool.choose(task, role)
    pool.choose_train()
    splits: list[dict[str, str]] = [{} for _ in paintings]
    for place, row in enumerate(order):
        splits[row] = {name: str(pool.split[name][place]) for name in STUDY}
    return splits


class _Pool:
    """The paintings in the order of their lots, their roles so far, and the splits made of them."""

    def __init__(self, paintings: Sequence[Painting], groups: Sequence[str] | None) -> None:
        trained = [
            [p.labels[task] if p.listed.get(task) == "train" else UNLABELLED for task in TASKS] for p in paintings
        ]
        self.labels = np.array(trained).reshape(len(paintings), len(TASKS))
        self.listed = {task: self.labels[:, column] != UNLABELLED for column, task in enumerate(TASKS)}
        self.listed[COMBINED] = (self.labels != UNLABELLED).all(1)
        self.group = np.unique(groups, return_inverse=True)[1] if groups else np.arange(len(paintings))
        self.role = np.full(len(paintings), "", "<U5")
        self.split = {name: np.full(len(paintings), "", "<U5") for name in STUDY}
        self.sizes = {name: sizes.of(int(self.listed[name].sum())) for name, sizes in STUDY.items()}

    def choose_combined(self, role: str) -> None:
        """Choose the combined model's `role`, like its pool in the classes of all three tasks."""
        size = getattr(self.sizes[COMBINED], role)
        chosen = self._like_pool(np.flatnonzero(self.listed[COMBINED] & (self.role == "")), size)
        self._give(role, chosen)
        self.split[COMBINED][chosen] = role

    def choose(self, task: str, role: str) -> None:
        """Choose a task's `role` class by class: from what has this role already, else from what costs least."""
        labels = self.labels[:, TASKS.index(task)]
        quotas = class_quotas(np.bincount(labels[self.listed[task]]), getattr(self.sizes[task], role))
        for label, quota in enumerate(quotas):
            of_class = labels == label
            has_role = np.flatnonzero(of_class & (self.role == role))[:quota]
            free = np.flatnonzero(of_class & (self.role == ""))
            # The combined and the artist's train sets need nearly all of their pools: spare those.
            cost = 2 * self.listed[COMBINED][free] + self.listed["artist"][free]
            new = free[np.argsort(cost, kind="stable")][: quota - len(has_role)]
            self._give(role, new)
            self.split[task][has_role] = role
            self.split[task][new] = role

    def choose_train(self) -> None:
        """Fill every train set from what has no role in evaluation."""
        free = self.role == ""
        for column, task in enumerate(TASKS):
            rows = np.flatnonzero(free & self.listed[task])
            size = min(self.sizes[task].train, len(rows))
            labels = self.labels[rows, column]
            quotas = class_quotas(np.bincount(self.labels[self.listed[task], column]), size)
            within = np.zeros(len(rows), bool)
            for label, quota in enumerate(quotas):
                within[np.flatnonzero(labels == label)[:quota]] = True
            # A class that evaluation has used up leaves its places to the others.
            within[np.flatnonzero(~within)[: size - within.sum()]] = True
            self.split[task][rows[within]] = "train"
        rows = np.flatnonzero(free & self.listed[COMBINED])
        self.split[COMBINED][self._like_pool(rows, min(self.sizes[COMBINED].train, len(rows)))] = "train"

    def _give(self, role: str, rows: np.ndarray) -> None:
        """Give paintings a role, and their copies the same."""
        self.role[np.isin(self.group, self.group[rows])] = role

    def _like_pool(self, rows: np.ndarray, size: int) -> np.ndarray:
        """Choose `size` of `rows` so that each head's classes have the shares that they have in the pool."""
        pool = self.labels[self.listed[COMBINED]]
        counts = [np.bincount(pool[:, column]) for column in range(len(TASKS))]
        if 2 * size <= len(rows):
            return rows.take(balanced_sample(self.labels[rows], [class_quotas(c, size) for c in counts], size))
        # Of nearly all, it is quicker to choose what stays out.
        here = [np.bincount(self.labels[rows, c], minlength=len(count)) for c, count in enumerate(counts)]
        surplus = [have - class_quotas(count, size) for have, count in zip(here, counts, strict=True)]
        return np.setdiff1d(rows, rows[balanced_sample(self.labels[rows], surplus, len(rows) - size)])
