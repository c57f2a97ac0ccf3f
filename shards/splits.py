"""`python -m shards.splits --labels LABELS --out FILE.parquet`: make the train, val and test splits, without any image.

Splits depend only on the paintings and the seed, never on the order of files.
"""

import argparse
import io
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError, command
from .files import atomic_write
from .labels import Painting, read_labels
from .numbers import whole
from .stratify import largest_remainder, shuffle_key
from .study import STUDY, study_splits
from .tasks import COMBINED, TASKS, UNLABELLED, splits_of

SPLITS = ("train", "val", "test")
ARTGAN = "artgan"
PROTOCOLS = (ARTGAN, "study")
OWN = "own"  # the protocol of paintings without official lists
VAL_SHARE = 0.1  # of the training paintings
TEST_SHARE = 0.2  # of the paintings, where nothing else says which are in test


def artgan_splits(
    paintings: Sequence[Painting], seed: int = 0, keep_leaks: bool = False, tasks: Sequence[str] = TASKS
) -> list[dict[str, str]]:
    """Make splits of the official lists: their `val` is our test, and a stratified tenth of their `train` our val.

    A painting has one role across all tasks, so that nothing leaks between tasks or into a model with several heads:
    what the official list of one task tests on is dropped from the train sets of the others. `keep_leaks` keeps it, to
    compare with published results.

    Returns one mapping per painting from each task to `train`, `val`, `test` or "" (not in this task). The key
    `combined` is for a model of all tasks, if there are several: the role that it has in all of them, or "".
    """
    tested = ["val" in painting.listed.values() for painting in paintings]
    rest = [painting for painting, is_tested in zip(paintings, tested, strict=True) if not is_tested]
    val = {painting.path for painting in stratified_sample(rest, VAL_SHARE, seed)}
    rows = []
    for painting, is_tested in zip(paintings, tested, strict=True):
        role = "val" if painting.path in val else "train"
        own = {"val": "test", "train": "" if is_tested and not keep_leaks else role}
        row = {task: own.get(painting.listed.get(task, ""), "") for task in tasks}
        if len(tasks) > 1:
            row[COMBINED] = row[tasks[0]] if len(set(row.values())) == 1 else ""
        rows.append(row)
    return rows


def own_splits(paintings: Sequence[Painting], tasks: Sequence[str], seed: int = 0) -> list[dict[str, str]]:
    """Make splits where each painting's `split` says what is in train, val or test, and draw those that are missing.

    Where none is in train, those without a split are; where others are in train, those without a split are in none. If
    there is no test, it is a stratified fifth of train, and if there is no val, a stratified tenth; of train and val
    alone, val is test, as in the official lists.

    Returns what `artgan_splits` does; a painting is in no split of a task that it is not labelled for. Raises
    `UserError` if no painting is in train.
    """
    roles = {painting.path: painting.split for painting in paintings}
    if "train" not in roles.values():
        roles = {path: role or "train" for path, role in roles.items()}
    given = set(roles.values()) - {""}
    if "train" not in given:
        raise UserError(f"no painting has the split train, only {' and '.join(sorted(given))}; name those to train on")
    if "val" in given and "test" not in given:
        roles = {path: "test" if role == "val" else role for path, role in roles.items()}
    for role, share in (("test", TEST_SHARE), ("val", VAL_SHARE)):
        if role not in roles.values():
            rest = [painting for painting in paintings if roles[painting.path] == "train" and painting.labels]
            roles |= {painting.path: role for painting in stratified_sample(rest, share, seed)}
    rows = []
    for painting in paintings:
        row = {task: roles[painting.path] if task in painting.labels else "" for task in tasks}
        if len(tasks) > 1:
            row[COMBINED] = roles[painting.path] if all(row.values()) else ""
        rows.append(row)
    return rows


def separate_duplicates(splits: Sequence[dict[str, str]], groups: Sequence[str]) -> list[dict[str, str]]:
    """Return `splits` in which near-duplicates are never on both sides of a split.

    `groups` names the group of near-duplicates of each painting. If the roles in a group differ, only those in test
    (or, if none is, in val) are kept; the other paintings are in no split.
    """
    roles: dict[str, set[str]] = {}
    for split, group in zip(splits, groups, strict=True):
        roles.setdefault(group, set()).update(role for role in split.values() if role)
    kept = {group: max(found, key=SPLITS.index) for group, found in roles.items() if found}
    return [
        {task: role if role == kept.get(group) else "" for task, role in split.items()}
        for split, group in zip(splits, groups, strict=True)
    ]


def stratified_sample(paintings: Sequence[Painting], share: float, seed: int) -> list[Painting]:
    """Draw a `share` (0 to 1) of the paintings, and about that share of every class of every task.

    Each painting counts for the rarest of its classes, as in iterative stratification (Sechidis, Tsoumakas and
    Vlahavas, ECML 2011). Within such a stratum, a hash of seed and path decides. The sizes of strata are rounded by
    largest remainder, so that they add up, but a stratum of three or more gets at least one.
    """
    counts: Counter[tuple[str, int]] = Counter(label for painting in paintings for label in painting.labels.items())
    strata: dict[tuple[str, int], list[Painting]] = {}
    for painting in paintings:
        rarest = min(painting.labels.items(), key=lambda label: (counts[label], label), default=("", UNLABELLED))
        strata.setdefault(rarest, []).append(painting)
    sizes = largest_remainder({stratum: len(members) * share for stratum, members in strata.items()})
    chosen = []
    for stratum, members in strata.items():
        size = max(sizes[stratum], 1 if len(members) >= 3 else 0)
        chosen += sorted(members, key=lambda painting: shuffle_key(seed, painting.path))[:size]
    return chosen


def study_shortfall(splits: Sequence[dict[str, str]]) -> str:
    """Return a sentence that says how far the study's sizes had to shrink; empty if they did not."""
    smaller = []
    for name, wanted in STUDY.items():
        sizes = Counter(split[name] for split in splits)
        if any(sizes[role] != getattr(wanted, role) for role in SPLITS):
            smaller.append(f"{name} {'/'.join(f'{sizes[role]:,}' for role in SPLITS)}")
    if not smaller:
        return ""
    return f"fewer paintings than the study had, so its sizes shrink: {', '.join(smaller)} (train/val/test)"


def make_splits(
    protocol: str,
    paintings: Sequence[Painting],
    seed: int,
    groups: Sequence[str] | None = None,
    keep_leaks: bool = False,
    tasks: Sequence[str] = TASKS,
) -> list[dict[str, str]]:
    """Make the splits of a protocol, `artgan`, `study` or `own`; see `artgan_splits` for what is returned.

    `groups` names the group of near-duplicates of each painting, if that is known. Warns on stderr if there are too
    few paintings for the study's sizes.
    """
    check_protocol(protocol, tasks)
    if protocol == "study":
        splits = study_splits(paintings, seed, groups)
        if shortfall := study_shortfall(splits):
            print(f"warning: {shortfall}", file=sys.stderr)
        return splits
    splits = (
        own_splits(paintings, tasks, seed) if protocol == OWN else artgan_splits(paintings, seed, keep_leaks, tasks)
    )
    return separate_duplicates(splits, groups) if groups and not keep_leaks else splits


def check_protocol(protocol: str | None, tasks: Iterable[str]) -> None:
    """Raise `UserError` if a protocol cannot split paintings with these tasks."""
    if protocol == "study" and set(tasks) != set(TASKS):
        raise UserError(f"--protocol study has {', '.join(TASKS)}, and the lists {', '.join(tasks)}; leave it out")


def write_table(
    file: Path, paintings: Sequence[Painting], splits: Sequence[dict[str, str]], tasks: Sequence[str]
) -> None:
    """Write a Parquet file with one row per painting.

    Its columns are `path`, the class index of each task (int16, -1 = unlabelled), and `split_TASK` for each task and
    `combined`.
    """
    columns: dict[str, pa.Array] = {"path": pa.array([p.path for p in paintings], pa.string())}
    columns |= {task: pa.array([p.label(task) for p in paintings], pa.int16()) for task in tasks}
    columns |= {f"split_{name}": pa.array([row[name] for row in splits], pa.string()) for name in splits_of(tasks)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    atomic_write(file, buffer.getvalue())


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m shards.splits", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--labels", type=Path, required=True, help="folder of ArtGAN's label lists")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet", help="the table to write")
    add_options(parser)
    args = parser.parse_args(argv)
    check_options(args)
    labels = read_labels(args.labels)
    check_protocol(args.protocol, labels.classes)
    for note in labels.notes:
        print(f"note: {note}", file=sys.stderr)
    for painting in labels.ambiguous:
        print(f"warning: {painting}; it is left unlabelled in this task", file=sys.stderr)
    paintings = [labels.paintings[path] for path in sorted(labels.paintings)]
    tasks = tuple(labels.classes)
    splits = make_splits(args.protocol or ARTGAN, paintings, args.seed, None, args.keep_leaks, tasks)
    write_table(args.out, paintings, splits, tasks)
    print(f"{len(paintings):,} paintings in {args.out}")
    print_sizes({name: Counter(split[name] for split in splits) for name in splits_of(tasks)})
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how to split."""
    parser.add_argument(
        "--protocol", choices=PROTOCOLS,
        help="artgan: the official train and val; study: fixed sizes from the train lists (default: artgan)",
    )  # fmt: skip
    parser.add_argument("--seed", type=whole, default=0, help="seed of the splits, 0 or more (default: 0)")
    parser.add_argument(
        "--keep-leaks",
        action="store_true",
        help="not with study: keep paintings in train that another task tests on, as in published results, and "
        "near-duplicates on both sides of a split",
    )


def check_options(args: argparse.Namespace) -> None:
    """Raise `UserError` for wrong values of the options that `add_options` adds."""
    if args.seed < 0:
        raise UserError(f"the seed {args.seed} is negative; give 0 or more")
    if args.keep_leaks and args.protocol == "study":
        raise UserError("--keep-leaks works only without --protocol study; leave out one of them")


def print_sizes(sizes: Mapping[str, Mapping[str, int]]) -> None:
    """Print how many paintings each task has in each split: `sizes[TASK][SPLIT]`."""
    for name, counts in sizes.items():
        print(f"  {name:9}" + "".join(f"{split} {counts[split]:<8,}" for split in SPLITS))


if __name__ == "__main__":
    raise SystemExit(main())
