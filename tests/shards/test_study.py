"""shards/study: the exact sizes of the study, every class in every split, and one role per painting."""

from collections import Counter

import numpy as np
import pytest

from shards.splits import SPLITS, make_splits
from shards.study import STUDY, Sizes, study_splits
from shards.tasks import TASKS
from tests.conftest import needs_wikiart
from tests.shards.conftest import digest

SIZES = {
    "artist": (11_000, 1_000, 1_000),
    "style": (30_000, 1_000, 1_000),
    "genre": (30_000, 1_000, 1_000),
    "combined": (10_000, 500, 500),
}


def shares(classes: list[int]) -> dict[int, float]:
    return {label: count / len(classes) for label, count in Counter(classes).items()}


@pytest.mark.parametrize(("duplicates", "expected"), [(False, "d56fcf282a3908cc"), (True, "72d4d382aa2cee1f")])
def test_the_splits_of_a_seed_are_the_same_in_every_version(invented, duplicates, expected):
    groups = [str(number % 400) for number in range(900)] if duplicates else None
    assert digest(study_splits(invented, groups=groups)) == expected
    assert digest(make_splits("study", invented, 0, groups)) == expected


def test_sizes_shrink_with_the_pool_and_never_grow():
    assert Sizes(11, 3, 2, pool=20).scaled(10) == Sizes(5, 2, 1, pool=10)
    assert Sizes(11, 3, 2, pool=20).scaled(30) == Sizes(11, 3, 2, pool=30)


@needs_wikiart
@pytest.mark.parametrize(
    ("task", "before"), [("genre", ["combined", "artist"]), ("style", ["combined", "artist", "genre"])]
)
def test_val_and_test_spare_the_paintings_that_the_train_sets_need(official, study, task, before):
    for role in ("val", "test"):
        rows = [row for row, split in enumerate(study) if split[task] == role and not any(split[b] for b in before)]
        assert rows
        assert not any(official[row].listed.get("artist") == "train" for row in rows)


@needs_wikiart
def test_the_study_has_its_sizes_and_every_painting_has_one_role(official, study):
    assert {name: tuple(Counter(row[name] for row in study)[split] for split in SPLITS) for name in SIZES} == SIZES
    assert all(len({role for role in row.values() if role}) <= 1 for row in study)
    for painting, row in zip(official, study, strict=True):
        in_train_lists = {task for task in TASKS if painting.listed.get(task) == "train"}
        assert {task for task in TASKS if row[task]} <= in_train_lists
        assert not row["combined"] or len(in_train_lists) == 3
    lists = [{task for task in TASKS if painting.listed.get(task) == "train"} for painting in official]
    pools = {task: sum(task in tasks for tasks in lists) for task in TASKS} | {"combined": lists.count(set(TASKS))}
    assert pools == {name: sizes.pool for name, sizes in STUDY.items()}


@needs_wikiart
@pytest.mark.parametrize("name", SIZES)
def test_every_class_of_three_is_in_every_split_in_proportion(official, study, name):
    tasks = TASKS if name == "combined" else (name,)
    for task in tasks:
        pool = [p.labels[task] for p in official if all(p.listed.get(other) == "train" for other in tasks)]
        for split in SPLITS:
            drawn = [p.labels[task] for p, row in zip(official, study, strict=True) if row[name] == split]
            missing = {label for label, count in Counter(pool).items() if count >= 3} - set(drawn)
            assert not missing, (task, split)
            got = shares(drawn)
            assert all(abs(got.get(label, 0) - share) < 0.015 for label, share in shares(pool).items()), (task, split)


@needs_wikiart
def test_splits_depend_only_on_the_seed_and_the_paintings(official, study):
    mixed = np.random.default_rng(0).permutation(len(official))
    again = study_splits([official[row] for row in mixed], seed=0)
    assert [again[row] for row in np.argsort(mixed)] == study
    assert study_splits(official, seed=1) != study


@needs_wikiart
def test_near_duplicates_share_a_role_and_the_sizes_stay(official, study):
    # Every fourth painting of val and test becomes a near-duplicate of one in train.
    evaluated = [row for row, split in enumerate(study) if {"val", "test"} & set(split.values())][::4]
    trained = [row for row, split in enumerate(study) if split["style"] == "train" and not split["artist"]]
    groups = [painting.path for painting in official]
    for duplicate, original in zip(trained, evaluated, strict=False):
        groups[duplicate] = groups[original]
    splits = study_splits(official, 0, groups)
    roles: dict[str, set[str]] = {}
    for group, row in zip(groups, splits, strict=True):
        roles.setdefault(group, set()).update(role for role in row.values() if role)
    assert max(map(len, roles.values())) == 1
    assert {name: tuple(Counter(row[name] for row in splits)[split] for split in SPLITS) for name in SIZES} == SIZES


@needs_wikiart
def test_with_fewer_paintings_the_sizes_shrink_in_proportion_with_a_warning(official, capsys):
    splits = make_splits("study", official[::2], seed=0)
    warning = capsys.readouterr().err
    for name, (_, val, test) in SIZES.items():
        counts = Counter(row[name] for row in splits)
        assert counts["val"] == pytest.approx(val / 2, rel=0.05)
        assert counts["test"] == pytest.approx(test / 2, rel=0.05)
        assert f"{name} {counts['train']:,}/{counts['val']:,}/{counts['test']:,}" in warning
