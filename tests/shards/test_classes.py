"""shards/classes, splits: classes and splits of labels that are not ArtGAN's."""

from collections import Counter

import pytest

from shards.classes import checked
from shards.errors import UserError
from shards.labels import Labels, Painting
from shards.splits import own_splits


def _made(counts: dict[str, int]) -> Labels:
    names = list(counts)
    paintings = {
        f"{name}/{n}.jpg": Painting(f"{name}/{n}.jpg", {"animal": label})
        for label, name in enumerate(names)
        for n in range(counts[name])
    }
    return Labels({"animal": names}, paintings, [], "", "t.csv")


def test_rare_classes_are_left_out_and_what_may_be_an_error_is_said():
    labels = _made({"ant": 2, "bee": 5, "Bee": 4, "unknown": 3})
    assert [note.partition(";")[0] for note in checked(labels).notes] == [
        "'unknown' is a class of animal like the others",
        "classes of animal differ only in capitals: 'bee', 'Bee'",
        "1 of 4 classes of animal have fewer than 3 paintings, too few for train, val and test, such as 'ant'",
    ]
    kept = checked(labels, 4)
    assert kept.classes == {"animal": ["bee", "Bee"]}
    assert Counter(painting.labels.get("animal") for painting in kept.paintings.values()) == {None: 5, 0: 5, 1: 4}
    assert "2 of 4 classes of animal have fewer than 4 paintings: left out" in kept.notes
    assert kept.digest != labels.digest
    with pytest.raises(UserError, match=r"^t\.csv: a task needs 2 to 32,767 classes, and animal has 1 of 5 paintings"):
        checked(labels, 5)


def test_a_fifth_is_test_and_a_tenth_of_the_rest_val_by_class_and_whatever_the_order():
    paintings = list(_made({"ant": 100, "bee": 50, "cat": 3}).paintings.values())
    rows = own_splits(paintings, ["animal"])
    found = Counter((painting.labels["animal"], row["animal"]) for painting, row in zip(paintings, rows, strict=True))
    assert [found[label, "test"] for label in range(3)] == [20, 10, 1]
    assert [found[label, "val"] for label in range(3)] == [8, 4, 0]
    assert rows == own_splits(paintings[::-1], ["animal"])[::-1]
    assert rows != own_splits(paintings, ["animal"], seed=1)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"train": 40, "val": 20, "test": 10, "": 5}, {"train": 40, "val": 20, "test": 10, "": 5}),
        ({"train": 40, "test": 10}, {"train": 36, "val": 4, "test": 10}),
        ({"train": 40, "val": 10}, {"train": 36, "val": 4, "test": 10}),
        ({"train": 50}, {"train": 36, "val": 4, "test": 10}),
        ({"": 40, "test": 10}, {"train": 36, "val": 4, "test": 10}),
    ],
)
def test_splits_that_are_given_are_kept_and_those_that_are_not_are_drawn(given, expected):
    roles = [role for role, count in given.items() for _ in range(count)]
    paintings = [Painting(f"{n}.jpg", {"animal": 0}, split=role) for n, role in enumerate(roles)]
    rows = own_splits(paintings, ["animal"])
    assert Counter(row["animal"] for row in rows) == expected
    kept = {"val": "test"} if "val" in given and "test" not in given else {}
    held = [
        (kept.get(role, role), row["animal"])
        for role, row in zip(roles, rows, strict=True)
        if role not in ("", "train")
    ]
    assert all(before == after for before, after in held)


def test_splits_without_train_are_refused():
    with pytest.raises(UserError, match="no painting has the split train, only test and val"):
        own_splits([Painting("a", {"x": 0}, split="val"), Painting("b", {"x": 0}, split="test")], ["x"])
