"""Who is in train, val and test. Pure: splits depend on the paintings and the seed, never on file order."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from .labels import TASKS, UNLABELLED, Painting

SPLITS = ("train", "val", "test")
VAL_SHARE = 0.1  # of the official training paintings


def artgan_splits(paintings: Sequence[Painting], seed: int = 0) -> list[dict[str, str]]:
    """The official lists: `val` is our test; a stratified tenth of `train` becomes our val, to choose models on.

    A painting has one role over all tasks, so that nothing leaks between tasks or into a model with several
    heads: what one task's official list tests on is dropped from every other task's train.

    Returns one mapping task -> `train`, `val`, `test` or "" (no part in this task) for each painting, plus the key
    `combined` for a model of all three tasks: the role where all three labels have it.
    """
    tested = ["val" in painting.listed.values() for painting in paintings]
    rest = [painting for painting, is_tested in zip(paintings, tested, strict=True) if not is_tested]
    val = {painting.path for painting in stratified_sample(rest, VAL_SHARE, seed)}
    rows = []
    for painting, is_tested in zip(paintings, tested, strict=True):
        role = "test" if is_tested else "val" if painting.path in val else "train"
        official = "val" if is_tested else "train"
        row = {task: role if painting.listed.get(task) == official else "" for task in TASKS}
        row["combined"] = role if all(row.values()) else ""
        rows.append(row)
    return rows


def separate_copies(splits: Sequence[dict[str, str]], contents: Sequence[str]) -> list[dict[str, str]]:
    """Keep copies of one image, packed under several names, from standing on both sides of a split.

    `contents` says which rows are copies: they have the same string. Where their roles differ, only those in test
    (or, without one, in val) keep theirs; the others have no part in any task.
    """
    roles: dict[str, set[str]] = {}
    for split, content in zip(splits, contents, strict=True):
        roles.setdefault(content, set()).update(role for role in split.values() if role)
    kept = {content: max(found, key=SPLITS.index) for content, found in roles.items() if found}
    return [
        {task: role if role == kept.get(content) else "" for task, role in split.items()}
        for split, content in zip(splits, contents, strict=True)
    ]


def stratified_sample(paintings: Sequence[Painting], share: float, seed: int) -> list[Painting]:
    """A share of the paintings in which every class of every task has about its share, and at least one of three.

    Each painting counts for the rarest of its classes, as in iterative stratification (Sechidis, Tsoumakas and
    Vlahavas, ECML 2011); within such a stratum a hash of seed and path decides. Strata are rounded by largest
    remainder, so that the sizes add up.
    """
    counts: Counter[tuple[str, int]] = Counter(
        (task, painting.label(task)) for painting in paintings for task in TASKS if task in painting.labels
    )
    strata: dict[tuple[str, int], list[Painting]] = {}
    for painting in paintings:
        own = [(task, painting.label(task)) for task in TASKS if task in painting.labels]
        rarest = min(own, key=lambda label: (counts[label], label), default=("", UNLABELLED))
        strata.setdefault(rarest, []).append(painting)
    sizes = largest_remainder({stratum: len(members) * share for stratum, members in strata.items()})
    chosen = []
    for stratum, members in strata.items():
        size = max(sizes[stratum], 1 if len(members) >= 3 else 0)
        chosen += sorted(members, key=lambda painting: _draw(seed, painting.path))[:size]
    return chosen


def largest_remainder(quotas: dict[tuple[str, int], float]) -> dict[tuple[str, int], int]:
    """Round quotas to whole numbers with the same rounded sum: largest fractions up, ties by key (Hamilton)."""
    floors = {key: int(quota) for key, quota in quotas.items()}
    missing = round(sum(quotas.values())) - sum(floors.values())
    by_fraction = sorted(quotas, key=lambda key: (floors[key] - quotas[key], key))
    return {**floors, **{key: floors[key] + 1 for key in by_fraction[:missing]}}


def _draw(seed: int, path: str) -> bytes:
    return hashlib.sha256(f"{seed}:{path}".encode()).digest()
