"""shards/splits: the official lists without leaks, stratified, and the table of splits."""

import random
import shutil
from collections import Counter

import pyarrow.parquet as pq
import pytest

from shards.labels import TASKS, Painting, read_labels
from shards.splits import SPLITS, artgan_splits, main, separate_duplicates
from tests.conftest import needs_wikiart


@needs_wikiart
def test_the_official_splits_leak_nothing_between_tasks_and_keep_every_class(official):
    splits = artgan_splits(official)
    assert max(len({role for role in split.values() if role}) for split in splits) == 1
    dropped = sum(
        painting.listed[task] == "train" and not split[task]
        for painting, split in zip(official, splits, strict=True)
        for task in painting.listed
    )
    assert dropped >= sum(len(set(painting.listed.values())) == 2 for painting in official) == 566
    for task in TASKS:
        sizes = Counter((p.label(task), split[task]) for p, split in zip(official, splits, strict=True) if split[task])
        for label in {label for label, _ in sizes}:
            train, val = sizes[label, "train"], sizes[label, "val"]
            assert val / (train + val) == pytest.approx(0.1, abs=0.02)


@needs_wikiart
def test_the_official_splits_have_their_published_leaks_if_these_are_kept(official):
    splits = artgan_splits(official, keep_leaks=True)
    for painting, split in zip(official, splits, strict=True):
        roles = {task: {"val": "test"}.get(listed, "train") for task, listed in painting.listed.items()}
        assert {task: split[task].replace("val", "train") for task in TASKS if split[task]} == roles


def test_splits_depend_only_on_the_paintings_and_the_seed():
    rng = random.Random(0)
    paintings = [Painting(f"a/{n}.jpg", {"style": rng.randrange(5)}, {"style": "train"}) for n in range(300)]
    roles = {p.path: split["style"] for p, split in zip(paintings, artgan_splits(paintings), strict=True)}
    rng.shuffle(paintings)
    again = {p.path: split["style"] for p, split in zip(paintings, artgan_splits(paintings), strict=True)}
    other = {p.path: split["style"] for p, split in zip(paintings, artgan_splits(paintings, seed=1), strict=True)}
    assert roles == again != other
    assert Counter(roles.values()) == {"train": 270, "val": 30}


def test_near_duplicates_are_never_on_both_sides_of_a_split():
    splits = [
        {"artist": "train", "style": "train"},
        {"artist": "", "style": "test"},
        {"artist": "val", "style": ""},
        {"artist": "train", "style": ""},
        {"artist": "train", "style": ""},
    ]
    assert separate_duplicates(splits, ["a", "a", "b", "b", "c"]) == [
        {"artist": "", "style": ""},
        {"artist": "", "style": "test"},
        {"artist": "val", "style": ""},
        {"artist": "", "style": ""},
        {"artist": "train", "style": ""},
    ]


def test_the_table_has_the_labels_and_splits_of_every_listed_painting(paintings, tmp_path, capsys):
    shutil.copytree(paintings / "labels", tmp_path / "labels")
    file = tmp_path / "labels" / "Style" / "style_train.csv"
    path, _, label = file.read_text().split()[0].rpartition(",")
    file.write_text(f"{path},{0 if label != '0' else 1}\n{file.read_text()}")
    out = tmp_path / "splits.parquet"
    assert main(["--labels", str(tmp_path / "labels"), "--out", str(out), "--seed", "1"]) == 0
    said, warned = capsys.readouterr()
    assert warned == f"warning: {path}: two classes of style; it is left unlabelled in this task\n"
    found = read_labels(tmp_path / "labels").paintings
    splits = dict(zip(found, artgan_splits(list(found.values()), seed=1), strict=True))
    table = pq.read_table(out)
    assert table.column_names == ["path", *TASKS, *(f"split_{name}" for name in (*TASKS, "combined"))]
    assert table.to_pylist() == [
        {"path": path}
        | {task: found[path].label(task) for task in TASKS}
        | {f"split_{name}": role for name, role in splits[path].items()}
        for path in sorted(found)
    ]
    sizes = Counter(split["combined"] for split in splits.values())
    first, *_, last = said.splitlines()
    assert first == f"200 paintings in {out}"
    assert last.split() == ["combined", *(str(word) for role in SPLITS for word in (role, sizes[role]))]


@pytest.mark.parametrize("wrong", [["--seed", "-1"], ["--protocol", "study", "--keep-leaks"]])
def test_wrong_options_are_one_sentence(tmp_path, capsys, wrong):
    assert main(["--labels", str(tmp_path), "--out", str(tmp_path / "x.parquet"), *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
