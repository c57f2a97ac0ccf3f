"""K-fold cross-validation over all labelled paintings: each is tested on in exactly one fold. Pure."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .labels import Painting
from .splits import VAL_SHARE, stratified_sample
from .stratify import shuffle_key

SEED = 0  # the folds of shards are always the same


def fold_splits(paintings: Sequence[Painting], groups: Sequence[str], folds: int, fold: int) -> np.ndarray:
    """Return the split of each painting, str (n,), when `fold`, from 0, of `folds` is tested on.

    The fold is `test`, a stratified tenth of the other paintings `val`, the rest `train`, and a painting without a
    label is in none (""). `groups` names the group of near-duplicates of each painting: all of a group are in the same
    split. The groups of a class are dealt to the folds in turn, so that each has its share of every class; a group
    counts for the rarest class of its first painting. The result does not depend on the order of the paintings.
    """
    members: dict[str, list[int]] = {}
    for row, (painting, group) in enumerate(zip(paintings, groups, strict=True)):
        if painting.labels:
            members.setdefault(group, []).append(row)
    first = [min((paintings[row] for row in rows), key=lambda painting: painting.path) for rows in members.values()]
    test = {painting.path for painting in _dealt(first)[fold::folds]}
    val = {
        painting.path for painting in stratified_sample([one for one in first if one.path not in test], VAL_SHARE, SEED)
    }
    splits = np.full(len(paintings), "", "<U5")
    for painting, rows in zip(first, members.values(), strict=True):
        splits[rows] = "test" if painting.path in test else "val" if painting.path in val else "train"
    return splits


def _dealt(paintings: Sequence[Painting]) -> list[Painting]:
    """The paintings class by class, shuffled within their class."""
    counts = Counter(label for painting in paintings for label in painting.labels.items())

    def place(painting: Painting) -> tuple[tuple[str, int], bytes]:
        rarest = min(painting.labels.items(), key=lambda label: (counts[label], label))
        return rarest, shuffle_key(SEED, painting.path)

    return sorted(paintings, key=place)
