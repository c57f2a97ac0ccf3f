"""shards/splits: the official lists without leaks, stratified, and the table of splits."""

import itertools
import random
from collections import Counter

import pyarrow.parquet as pq
import pytest

from shards.labels import Painting, read_labels
from shards.splits import (
    SPLITS,
    artgan_splits,
    main,
    make_splits,
    separate_duplicates,
    stratified_sample,
    study_shortfall,
)
from shards.study import STUDY, study_splits
from shards.tasks import TASKS
from tests.conftest import needs_wikiart
from tests.shards.conftest import digest


@pytest.mark.parametrize(("keep_leaks", "expected"), [(False, "099734112f433744"), (True, "c423777c11788a5e")])
def test_the_splits_of_a_seed_are_the_same_in_every_version(invented, keep_leaks, expected):
    assert digest(artgan_splits(invented, keep_leaks=keep_leaks)) == expected
    assert digest(make_splits("artgan", invented, 0, keep_leaks=keep_leaks)) == expected


def test_paintings_have_the_role_that_all_their_lists_allow(invented):
    for keep_leaks in (False, True):
        for painting, split in zip(invented, artgan_splits(invented, keep_leaks=keep_leaks), strict=True):
            listed = set(painting.listed.values())
            for task in TASKS:
                leaks = painting.listed.get(task) == "train" and "val" in listed
                allowed = {"val": {"test"}, "train": {"train", "val"}, None: {""}}[painting.listed.get(task)]
                assert split[task] in ({""} if leaks and not keep_leaks else {"train"} if leaks else allowed)
            roles = {split[task] for task in TASKS}
            assert split["combined"] == (min(roles) if len(roles) == 1 else "")


def test_a_stratified_sample_has_its_share_of_each_rarest_class_and_one_of_three():
    def paintings(style: int, count: int, **genre: int) -> list[Painting]:
        return [Painting(f"{style}/{genre}{n}.jpg", {"style": style, **genre}) for n in range(count)]

    pool = [*paintings(0, 100), *paintings(1, 3), *paintings(2, 2), *paintings(0, 3, genre=5)]
    sample = stratified_sample(pool, 0.1, seed=0)
    assert Counter((p.label("style"), p.label("genre")) for p in sample) == {(0, -1): 10, (1, -1): 1, (0, 5): 1}


def test_near_duplicates_are_separated_unless_leaks_are_kept(invented):
    groups = [str(number % 400) for number in range(900)]
    splits = artgan_splits(invented, 3)
    assert make_splits("artgan", invented, 3, groups) == separate_duplicates(splits, groups) != splits
    assert make_splits("artgan", invented, 3, groups, keep_leaks=True) == artgan_splits(invented, 3, keep_leaks=True)


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


@pytest.mark.parametrize(("options", "seed", "leaks"), [([], 0, False), (["--seed", "1", "--keep-leaks"], 1, True)])
def test_the_table_has_the_labels_and_splits_of_every_listed_painting(invented, tmp_path, capsys, options, seed, leaks):
    for task, classes in zip(TASKS, (6, 9, 4), strict=True):
        (tmp_path / f"{task}_class.txt").write_text("".join(f"{n} Class_{n}\n" for n in range(classes)))
        for listed in ("train", "val"):
            rows = [f"{p.path},{p.labels[task]}\n" for p in invented if p.listed.get(task) == listed]
            (tmp_path / f"{task}_{listed}.csv").write_text("".join(rows))
    with (tmp_path / "style_train.csv").open("a") as file:
        file.write("style/a.jpg,0\nstyle/a.jpg,1\n")
    out = tmp_path / "splits.parquet"
    assert main(["--labels", str(tmp_path), "--out", str(out), *options]) == 0
    said, warning = capsys.readouterr()
    assert warning == "warning: style/a.jpg: two classes of style; it is left unlabelled in this task\n"
    found = read_labels(tmp_path).paintings
    splits = dict(zip(found, artgan_splits(list(found.values()), seed, leaks), strict=True))
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
    assert first == f"{len(found)} paintings in {out}"
    assert last.split() == ["combined", *(str(word) for role in SPLITS for word in (role, sizes[role]))]


@pytest.mark.parametrize(
    ("options", "problem"),
    [(["--seed", "-1"], "the seed -1"), (["--protocol", "study", "--keep-leaks"], "--keep-leaks works only")],
)
def test_wrong_options_are_refused_in_one_sentence(tmp_path, capsys, options, problem):
    assert main(["--labels", str(tmp_path), "--out", str(tmp_path / "x.parquet"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {problem}") and error.count("\n") == 1


def test_a_warning_names_the_sizes_of_the_study_that_cannot_be_reached(invented, capsys):
    groups = [str(number % 400) for number in range(900)]
    splits = make_splits("study", invented, 5, groups)
    assert splits == study_splits(invented, 5, groups)
    assert capsys.readouterr().err == f"warning: {study_shortfall(splits)}\n"
    roles = [["train"] * size.train + ["val"] * size.val + ["test"] * size.test for size in STUDY.values()]
    complete = [dict(zip(STUDY, row, strict=True)) for row in itertools.zip_longest(*roles, fillvalue="")]
    assert study_shortfall(complete) == ""
    complete[0]["style"] = ""
    assert ": style 29,999/1,000/1,000 (train/val/test)" in study_shortfall(complete)


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
