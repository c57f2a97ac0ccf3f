"""shards/splits: the study's sizes exactly, its classes in every split, and no painting on two sides."""

from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from shards.labels import TASKS, Painting, read_labels
from shards.splits import SPLITS, artgan_splits, main, make_splits
from shards.stratify import balanced_sample, class_quotas
from shards.study import study_splits
from tests.conftest import WIKIART, needs_wikiart

SIZES = {
    "artist": (11_000, 1_000, 1_000),
    "style": (30_000, 1_000, 1_000),
    "genre": (30_000, 1_000, 1_000),
    "combined": (10_000, 500, 500),
}


@pytest.fixture(scope="module")
def paintings() -> list[Painting]:
    return list(read_labels(WIKIART / "labels").paintings.values())


@pytest.fixture(scope="module")
def study(paintings: list[Painting]) -> list[dict[str, str]]:
    return study_splits(paintings, seed=0)


def shares(classes: list[int]) -> dict[int, float]:
    return {label: count / len(classes) for label, count in Counter(classes).items()}


@needs_wikiart
def test_the_study_has_its_sizes_and_every_painting_one_role(paintings, study):
    assert {name: tuple(Counter(row[name] for row in study)[split] for split in SPLITS) for name in SIZES} == SIZES
    assert all(len({role for role in row.values() if role}) <= 1 for row in study)
    for painting, row in zip(paintings, study, strict=True):
        in_train_lists = {task for task in TASKS if painting.listed.get(task) == "train"}
        assert {task for task in TASKS if row[task]} <= in_train_lists
        assert not row["combined"] or len(in_train_lists) == 3


@needs_wikiart
@pytest.mark.parametrize("name", SIZES)
def test_every_class_of_three_is_in_every_split_in_proportion(paintings, study, name):
    heads = TASKS if name == "combined" else (name,)
    for task in heads:
        pool = [p.labels[task] for p in paintings if all(p.listed.get(head) == "train" for head in heads)]
        for split in SPLITS:
            drawn = [p.labels[task] for p, row in zip(paintings, study, strict=True) if row[name] == split]
            missing = {label for label, count in Counter(pool).items() if count >= 3} - set(drawn)
            assert not missing, (task, split)
            got = shares(drawn)
            assert all(abs(got.get(label, 0) - share) < 0.015 for label, share in shares(pool).items()), (task, split)


@needs_wikiart
def test_splits_depend_on_the_seed_and_the_paintings_alone(paintings, study):
    mixed = np.random.default_rng(0).permutation(len(paintings))
    again = study_splits([paintings[row] for row in mixed], seed=0)
    assert [again[place] for place in np.argsort(mixed)] == study
    assert study_splits(paintings, seed=1) != study


@needs_wikiart
def test_copies_share_a_role_and_the_sizes_stay(paintings, study):
    # Each painting that is evaluated on is made the copy of one that is trained on.
    evaluated = [row for row, split in enumerate(study) if {"val", "test"} & set(split.values())][::4]
    trained = [row for row, split in enumerate(study) if split["style"] == "train" and not split["artist"]]
    groups = [painting.path for painting in paintings]
    for copy, original in zip(trained, evaluated, strict=False):
        groups[copy] = groups[original]
    splits = study_splits(paintings, 0, groups)
    roles: dict[str, set[str]] = {}
    for group, row in zip(groups, splits, strict=True):
        roles.setdefault(group, set()).update(role for role in row.values() if role)
    assert max(map(len, roles.values())) == 1
    assert {name: tuple(Counter(row[name] for row in splits)[split] for split in SPLITS) for name in SIZES} == SIZES


@needs_wikiart
def test_with_fewer_paintings_the_sizes_shrink_in_proportion_and_it_is_said(paintings, capsys):
    splits = make_splits("study", paintings[::2], seed=0)
    said = capsys.readouterr().err
    for name, (_, val, test) in SIZES.items():
        counts = Counter(row[name] for row in splits)
        assert counts["val"] == pytest.approx(val / 2, rel=0.05)
        assert counts["test"] == pytest.approx(test / 2, rel=0.05)
        assert f"{name} {counts['train']:,}/{counts['val']:,}/{counts['test']:,}" in said


@needs_wikiart
def test_the_official_splits_drop_the_leaks_between_tasks_unless_they_are_kept(paintings):
    leaks = [{"train", "val"} <= set(painting.listed.values()) for painting in paintings]
    assert sum(leaks) == 566
    dropped, kept = artgan_splits(paintings), artgan_splits(paintings, keep_leaks=True)
    roles = [[{role for role in row.values() if role} for row in splits] for splits in (dropped, kept)]
    assert not any("test" in found and len(found) > 1 for found in roles[0])
    assert ["test" in found and "train" in found for found in roles[1]] == leaks
    assert sum(row["artist"] in ("train", "val") for row in kept) == 13_346


@needs_wikiart
def test_the_table_needs_no_images(tmp_path, study, capsys):
    out = tmp_path / "splits.parquet"
    assert main(["--labels", str(WIKIART / "labels"), "--protocol", "study", "--out", str(out)]) == 0
    path = "Post_Impressionism/maurice-de-vlaminck_the-village.jpg"
    said = f"{path}: two classes of genre; it is left unlabelled in this task"
    assert capsys.readouterr().err == f"warning: {said}\n"
    table = pq.read_table(out)
    assert table.column_names == ["path", *TASKS, *(f"split_{name}" for name in (*TASKS, "combined"))]
    assert table.num_rows == len(study)
    assert Counter(table["split_combined"].to_pylist()) == Counter(row["combined"] for row in study)
    assert min(table["artist"].to_pylist()) == -1


@pytest.mark.parametrize("wrong", [["--seed", "-1"], ["--protocol", "study", "--keep-leaks"]])
def test_wrong_options_are_one_sentence(tmp_path, capsys, wrong):
    assert main(["--labels", str(tmp_path), "--out", str(tmp_path / "x.parquet"), *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_quotas_are_rounded_by_largest_remainder_and_spare_the_rare():
    assert class_quotas(np.array([50, 30, 20]), 10).tolist() == [5, 3, 2]
    assert class_quotas(np.array([100, 55, 3, 2]), 8).tolist() == [4, 3, 1, 0]
    assert class_quotas(np.array([2, 5, 5]), 0).tolist() == [0, 0, 0]


def test_a_balanced_sample_meets_the_quotas_of_all_heads_at_once():
    # Two heads that are not independent: a sample stratified by one alone would miss the other.
    labels = np.array([[0, 0]] * 30 + [[0, 1]] * 10 + [[1, 0]] * 10 + [[1, 1]] * 50)
    rows = balanced_sample(labels, [np.array([8, 12]), np.array([8, 12])], 20)
    assert [np.bincount(labels[rows, head]).tolist() for head in (0, 1)] == [[8, 12], [8, 12]]
