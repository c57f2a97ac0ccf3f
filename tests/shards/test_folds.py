import random

import numpy as np

from shards.folds import fold_splits
from shards.index import read_index
from shards.labels import Painting


def collection(n: int = 203) -> tuple[list[Painting], list[str]]:
    """Classes of 3 : 1, every tenth painting unlabelled, and near-duplicates under another label."""
    paintings = [Painting(f"{row:04}", {} if row % 10 == 9 else {"artist": int(row % 4 == 0)}) for row in range(n)]
    return paintings, [f"{row // 2 if row < 20 else row}" for row in range(n)]


def test_each_labelled_painting_is_tested_on_in_one_fold_and_near_duplicates_are_on_one_side():
    paintings, groups = collection()
    splits = np.stack([fold_splits(paintings, groups, 5, fold) for fold in range(5)])
    labelled = np.array([bool(painting.labels) for painting in paintings])
    assert ((splits == "test").sum(0) == labelled).all()
    assert (splits[:, ~labelled] == "").all() and (splits[:, labelled] != "").all()
    for of_fold in splits:
        sides = {(group, split) for group, split in zip(groups, of_fold, strict=True) if split}
        assert len(sides) == len({group for group, _ in sides})


def test_every_fold_has_its_share_of_each_class_in_each_split():
    paintings, groups = collection()
    labels = np.array([painting.label("artist") for painting in paintings])
    for fold in range(5):
        splits = fold_splits(paintings, groups, 5, fold)
        for label in (0, 1):
            n = (labels == label).sum()
            shares = {split: ((splits == split) & (labels == label)).sum() / n for split in ("train", "val", "test")}
            assert abs(shares["test"] - 0.2) < 0.06 and abs(shares["val"] - 0.08) < 0.04


def test_a_class_of_two_paintings_is_never_tested_on_in_one_fold():
    paintings = [Painting(f"{row}", {"artist": int(row < 2)}) for row in range(17)]
    folds = [
        next(fold for fold in range(5) if fold_splits(paintings, [p.path for p in paintings], 5, fold)[row] == "test")
        for row in (0, 1)
    ]
    assert folds[0] != folds[1]


def test_folds_do_not_depend_on_the_order_of_the_paintings():
    paintings, groups = collection()
    order = list(range(len(paintings)))
    random.Random(0).shuffle(order)
    shuffled = fold_splits([paintings[row] for row in order], [groups[row] for row in order], 5, 2)
    assert (shuffled == fold_splits(paintings, groups, 5, 2)[order]).all()


def test_the_index_selects_a_fold_of_what_is_labelled_for_its_tasks(shards):
    index = read_index(shards)
    tasks = ("artist", "style")
    tested = [index.select("test", tasks, "any", 5, fold) for fold in range(5)]
    rows = np.concatenate([rows for rows, _ in tested])
    columns = index.labels[:, [index.tasks.index(task) for task in tasks]]
    assert sorted(rows) == np.flatnonzero((columns >= 0).any(1)).tolist()
    assert (np.concatenate([labels for _, labels in tested]) == columns[rows]).all()
    both = np.concatenate([index.select("test", tasks, "all", 5, fold)[0] for fold in range(5)])
    assert sorted(both) == np.flatnonzero((columns >= 0).all(1)).tolist()
    train, val, test = (set(index.select(split, tasks, "any", 5, 1)[0]) for split in ("train", "val", "test"))
    assert not train & test and not train & val and not val & test and len(train | val | test) == len(rows)
