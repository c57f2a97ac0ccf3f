"""`python -m shards.splits --labels LABELS --out FILE.parquet`: who is in train, val and test, without any image.

Splits depend on the paintings and the seed alone, never on the order of files.
"""

import argparse
import io
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError, command
from .files import atomic_write
from .labels import TASKS, UNLABELLED, Painting, read_labels
from .stratify import draw, largest_remainder
from .study import STUDY, study_splits

SPLITS = ("train", "val", "test")
PROTOCOLS = ("artgan", "study")
VAL_SHARE = 0.1  # of the official training paintings


def artgan_splits(paintings: Sequence[Painting], seed: int = 0, keep_leaks: bool = False) -> list[dict[str, str]]:
    """The official lists: `val` is our test; a stratified tenth of `train` becomes our val, to choose models on.

    A painting has one role over all tasks, so that nothing leaks between tasks or into a model with several
    heads: what one task's official list tests on is dropped from every other task's train. `keep_leaks` leaves it
    there, for figures that compare with published ones.

    Returns one mapping task -> `train`, `val`, `test` or "" (no part in this task) for each painting, plus the key
    `combined` for a model of all three tasks: the role where all three labels have it.
    """
    tested = ["val" in painting.listed.values() for painting in paintings]
    rest = [painting for painting, is_tested in zip(paintings, tested, strict=True) if not is_tested]
    val = {painting.path for painting in stratified_sample(rest, VAL_SHARE, seed)}
    rows = []
    for painting, is_tested in zip(paintings, tested, strict=True):
        role = "val" if painting.path in val else "train"
        own = {"val": "test", "train": "" if is_tested and not keep_leaks else role}
        row = {task: own.get(painting.listed.get(task, ""), "") for task in TASKS}
        row["combined"] = row["style"] if len(set(row.values())) == 1 else ""
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
        chosen += sorted(members, key=lambda painting: draw(seed, painting.path))[:size]
    return chosen


def study_shortfall(splits: Sequence[dict[str, str]]) -> str:
    """One sentence that says how far the study's sizes had to shrink; empty if they did not."""
    told = []
    for name, wanted in STUDY.items():
        sizes = Counter(split[name] for split in splits)
        if any(sizes[role] != getattr(wanted, role) for role in SPLITS):
            told.append(f"{name} {'/'.join(f'{sizes[role]:,}' for role in SPLITS)}")
    return (
        f"fewer paintings than the study had, so its sizes shrink: {', '.join(told)} (train/val/test)" if told else ""
    )


def make_splits(
    protocol: str,
    paintings: Sequence[Painting],
    seed: int,
    copies: Sequence[str] | None = None,
    keep_leaks: bool = False,
) -> list[dict[str, str]]:
    """The splits of a protocol, `artgan` or `study`. `copies` names what are copies of one another, if that is known.

    Says on stderr if there are too few paintings for the study's sizes.
    """
    if protocol == "study":
        splits = study_splits(paintings, seed, copies)
        if shortfall := study_shortfall(splits):
            print(f"warning: {shortfall}", file=sys.stderr)
        return splits
    splits = artgan_splits(paintings, seed, keep_leaks)
    return separate_copies(splits, copies) if copies and not keep_leaks else splits


def write_table(file: Path, paintings: Sequence[Painting], splits: Sequence[dict[str, str]]) -> None:
    """Write one row per painting: `path`, the class index of each task (-1 = unlabelled), the split of each task."""
    columns: dict[str, pa.Array] = {"path": pa.array([p.path for p in paintings], pa.string())}
    columns |= {task: pa.array([p.label(task) for p in paintings], pa.int16()) for task in TASKS}
    columns |= {f"split_{name}": pa.array([row[name] for row in splits], pa.string()) for name in (*TASKS, "combined")}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    atomic_write(file, buffer.getvalue())


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m shards.splits", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--labels", type=Path, required=True, help="folder of ArtGAN's label lists")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.parquet", help="the table to write")
    add_options(parser)
    args = parser.parse_args(argv)
    check_options(args)
    labels = read_labels(args.labels)
    for painting in labels.ambiguous:
        print(f"warning: {painting}, so that it has none", file=sys.stderr)
    paintings = [labels.paintings[path] for path in sorted(labels.paintings)]
    splits = make_splits(args.protocol, paintings, args.seed, keep_leaks=args.keep_leaks)
    write_table(args.out, paintings, splits)
    print(f"{len(paintings):,} paintings in {args.out}")
    print_sizes({name: Counter(split[name] for split in splits) for name in (*TASKS, "combined")})
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """What says how to split, for every command that does."""
    parser.add_argument(
        "--protocol", choices=PROTOCOLS, default="artgan",
        help="artgan: the official train and val; study: fixed sizes out of the train lists (default: artgan)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other splits (default: 0)")
    parser.add_argument(
        "--keep-leaks", action="store_true", help="artgan only: train on what another task tests on, as published"
    )


def check_options(args: argparse.Namespace) -> None:
    """Refuse what `add_options` cannot. Raises `UserError`."""
    if args.seed < 0:
        raise UserError(f"the seed {args.seed} is negative; give one from 0 up")
    if args.keep_leaks and args.protocol != "artgan":
        raise UserError(f"--keep-leaks belongs to --protocol artgan, not {args.protocol}; leave one of them out")


def print_sizes(sizes: Mapping[str, Mapping[str, int]]) -> None:
    """Print how many paintings each task has in each split."""
    for name, counts in sizes.items():
        print(f"  {name:9}" + "".join(f"{split} {counts[split]:<8,}" for split in SPLITS))


if __name__ == "__main__":
    raise SystemExit(main())
