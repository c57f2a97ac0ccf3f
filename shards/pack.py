"""`python -m shards.pack --images IMAGES --labels LABELS --out SHARDS`: pack paintings into WebDataset tar shards.

With `--table FILE` or `--folders PICTURES` in place of the lists, their labels are from a table or folders.

Every shard is a plain tar of pairs `KEY.jpg`, `KEY.json` that any WebDataset reader can stream. `index.parquet` next
to them gives random access. A shard is written completely or not at all: run again, the command continues where it was
killed, and rewrites damaged shards.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import folders
from .classes import checked
from .duplicates import duplicate_groups, perceptual_hash
from .errors import UserError, command
from .files import file_sha256, remove_leftovers
from .images import UnreadableImageError, to_jpeg
from .index import read_index, write_index
from .labels import Labels, Painting, read_labels
from .locks import locked_patiently
from .matching import match_images
from .numbers import whole
from .progress import progress
from .report import build_report, check_nothing_missing, known_before, print_notes, write_report
from .settings import WITH_NUMBERS, check_folder, claim_folder, settings_of
from .splits import ARTGAN, OWN, add_options, check_options, check_protocol, make_splits, own_splits, print_sizes
from .summary import write_summary
from .table import read_table
from .tars import read_checksums, read_rows, write_checksums, write_shard
from .tasks import NAME_RULE, is_task
from .workers import parallel_map

SHARD_SAMPLES = 1000


@dataclass(frozen=True)
class Source:
    """A painting to pack: its labels for the tasks, its image file, and the size (pixels) and quality of its JPEG."""

    painting: Painting
    file: Path
    tasks: tuple[str, ...]
    short_side: int
    quality: int


@dataclass(frozen=True)
class Prepared:
    """The result for a `Source`: JPEG bytes with their size in pixels and perceptual hash, or why it was left out."""

    jpeg: bytes = b""
    width: int = 0
    height: int = 0
    phash: int = 0
    reason: str = ""


def pack(
    images: Path, labels: Path | Labels, out: Path, short_side: int = 256, quality: int = 90,
    protocol: str | None = None, seed: int = 0, keep_leaks: bool = False, allow_missing: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Pack every labelled image under `images` into `out`, and return the report that is also written there.

    `labels` is the folder of ArtGAN's lists, or what another source says. `short_side` (pixels) and `quality` are those
    of `images.to_jpeg`; `protocol`, `seed` and `keep_leaks` are those of `splits.make_splits`. Changing only the splits
    does not pack the images again. Unless `allow_missing`, every listed painting must have an image and every image a
    label. `workers` is the number of processes, one per core by default; the bytes do not depend on it.

    Raises `UserError` for unreadable lists, no images, an `out` that holds other shards, or missing images or labels.
    The latter is checked before anything is packed, and the report then names what is missing.
    """
    if isinstance(labels, Path):
        labels = read_labels(labels)
    check_protocol(protocol, labels.classes)
    matches = match_images(images, labels)
    known = known_before(labels, matches)
    tasks = tuple(labels.classes)
    sources = [
        Source(labels.paintings[path], images / file, tasks, short_side, quality)
        # A fixed order that mixes the classes, for readers that stream one shard after the other.
        for file, path in sorted(matches.paths.items(), key=lambda pair: hashlib.sha256(pair[1].encode()).digest())
    ]
    if not labels.is_official:
        own_splits([source.painting for source in sources], tasks)  # which may raise, before anything is packed
    files = ((source.painting.path, source.file) for source in sources)
    settings = settings_of(labels.digest, files, short_side, quality, SHARD_SAMPLES)
    check_folder(out, settings)
    if not allow_missing:
        check_nothing_missing(out, known)
    if matches.shift:
        print("note: {} is taken for the listed {}, and the others likewise".format(*matches.shift), file=sys.stderr)
    with locked_patiently(out / ".lock", f"another process is packing into {out}"):
        check_folder(out, settings)  # again, as another process may have started at the same time
        version = claim_folder(out, settings)
        remove_leftovers(out)
        rows, checksums = _pack(out, sources, workers, version)
        groups = duplicate_groups(np.array([row["phash"] for row in rows], np.uint64))
        protocol = (protocol or ARTGAN) if labels.is_official else OWN
        paintings = [labels.paintings[str(row["path"])] for row in rows]
        splits = make_splits(protocol, paintings, seed, groups, keep_leaks, tasks)
        for row, split in zip(rows, splits, strict=True):
            row.update({f"split_{task}": role for task, role in split.items()})
        report = {**known, **build_report(out, labels, rows, groups, _unreadable(sources, rows))}
        write_report(out, report)
        used = {name: checksums[name] for name in sorted({str(row["shard"]) for row in rows})}
        write_index(out, rows, labels.classes, used, {"protocol": protocol, "seed": seed})
        write_summary(read_index(out))
        return report


def _unreadable(sources: Sequence[Source], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The files that are not packed, and why."""
    packed = {row["path"] for row in rows}
    return {
        str(source.file): _prepare(source).reason or "became readable after it was left out"
        for source in sources
        if source.painting.path not in packed
    }


def _pack(
    out: Path, sources: Sequence[Source], workers: int | None, version: int
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Write the shards that are missing or damaged; `version` is that of the folder's samples.

    Returns the index rows of all shards, without splits, and the checksum of each shard.
    """
    shards = {
        f"wikiart-{number:06d}.tar": sources[start : start + SHARD_SAMPLES]
        for number, start in enumerate(range(0, len(sources), SHARD_SAMPLES))
    }
    recorded = read_checksums(out)
    checksums = _intact_checksums([out / name for name in shards], recorded)
    todo = [name for name in shards if name not in checksums]
    if todo:
        remaining = [source for name in todo for source in shards[name]]
        with (
            progress("packing paintings", len(remaining)) as advance,
            parallel_map(_prepare, remaining, workers) as results,
        ):
            for name in todo:
                checksums[name] = write_shard(out / name, _samples(shards[name], results, advance, version))
                write_checksums(out, checksums)
                if checksums[name] != recorded.get(name, checksums[name]):
                    print(f"{out / name} differs from when it was first packed: its images changed", file=sys.stderr)
    rows = [row for name in shards for row in read_rows(out / name)]
    if not rows:
        raise UserError(f"no image could be read; the first is {sources[0].file}: {_prepare(sources[0]).reason}")
    return rows, checksums


def _intact_checksums(files: Sequence[Path], recorded: Mapping[str, str]) -> dict[str, str]:
    """Return the checksums of the shards that are as they were packed, and name the damaged ones on stderr."""
    intact = {}
    existing = [file for file in files if file.exists()]
    with progress("checking shards", len(existing)) as advance:
        for file in existing:
            checksum = file_sha256(file)
            if checksum == recorded.get(file.name):
                intact[file.name] = checksum
            elif file.name in recorded:
                print(f"{file} has changed since it was packed; it is written again", file=sys.stderr)
            advance()
    return intact


def _samples(
    sources: Sequence[Source], results: Iterator[Prepared], advance: Callable[[], None], version: int
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield the samples of the shard of `sources`, taking one of `results` for each and leaving the rest."""
    for source in sources:
        prepared = next(results)
        if not prepared.reason:
            about = {
                "path": source.painting.path,
                "width": prepared.width,
                "height": prepared.height,
                # Not a number: half of these are above what readers such as Arrow take for an integer.
                "phash": prepared.phash if version == WITH_NUMBERS else f"{prepared.phash:016x}",
                **{task: source.painting.label(task) for task in source.tasks},
            }
            yield prepared.jpeg, about
        advance()


def _prepare(source: Source) -> Prepared:
    try:
        if not source.file.is_file():  # reading a pipe would block, and a device may never end
            return Prepared(reason="not a file, or a broken link")
        jpeg, width, height = to_jpeg(source.file.read_bytes(), source.short_side, source.quality)
        return Prepared(jpeg, width, height, perceptual_hash(jpeg))
    except (UnreadableImageError, OSError, MemoryError) as error:
        return Prepared(reason=str(error) or type(error).__name__)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = _parser().parse_args(argv)
    if args.short_side < 33 or not 1 <= args.quality <= 95:
        raise UserError("--short-side must be at least 33 pixels and --quality from 1 to 95")
    if args.workers is not None and args.workers < 1:
        raise UserError("--workers must be at least 1")
    if args.min_paintings < 1:
        raise UserError("--min-paintings must be at least 1")
    images, labels = _sources(args)
    check_options(args)
    for note in labels.notes:
        print(f"note: {note}", file=sys.stderr)
    options = (args.short_side, args.quality, args.protocol, args.seed, args.keep_leaks, args.allow_missing)
    report = pack(images, labels, args.out, *options, args.workers)
    index = read_index(args.out)
    shards = len(set(index.table["shard"].to_pylist()))
    print(f"{report['packed']} paintings in {shards} shards in {args.out}")
    print_sizes(report["splits"])
    print_notes(report, args.out, args.keep_leaks)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shards.pack", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--images", type=Path, help="folder of STYLE/NAME.jpg")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--labels", type=Path, help="folder of ArtGAN's label lists")
    source.add_argument(
        "--table",
        type=Path,
        help="instead: CSV or Parquet, columns path and artist, style, genre or others",
    )
    source.add_argument(
        "--folders", type=Path, metavar="PICTURES", help="instead of --images too: folder with a folder for each class"
    )
    parser.add_argument(
        "--task", nargs="+", default=[], metavar="NAME",
        help="columns of --table to learn (default: artist, style, genre), or the name of --folders' task (default: "
        f"{folders.TASK})",
    )  # fmt: skip
    parser.add_argument(
        "--min-paintings", type=whole, default=1, metavar="N", help="leave out classes of fewer paintings (default: 1)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument(
        "--short-side", type=whole, default=256, help="pixels; smaller images are not enlarged (default: 256)"
    )
    parser.add_argument("--quality", type=whole, default=90, help="JPEG quality, 1 to 95 (default: 90)")
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="pack even if listed paintings have no image or images no label (unreadable images never stop packing)",
    )
    parser.add_argument("--workers", type=whole, help="processes (default: one per available core)")
    add_options(parser)
    return parser


def _sources(args: argparse.Namespace) -> tuple[Path, Labels]:
    """The folder of images, and their labels. Raises `UserError` for options that do not belong together."""
    tasks = [name for text in args.task for name in text.split(",") if name.strip()]
    if args.folders and args.images:
        raise UserError("--folders names the images too; leave out --images")
    if not args.folders and not args.images:
        raise UserError("--images is missing; give the folder of the images")
    if args.labels and tasks:
        raise UserError("--task is for --table and --folders, as the lists have artist, style and genre; leave it out")
    if not args.labels and args.protocol:
        raise UserError(f"--protocol {args.protocol} is for ArtGAN's lists, not for a table or folders; leave it out")
    if args.folders and (len(tasks) > 1 or not all(map(is_task, tasks))):
        raise UserError(f"--task {' '.join(args.task)}: folders have one task, and {NAME_RULE}")
    if args.labels:
        labels = read_labels(args.labels)
    elif args.table:
        labels = read_table(args.table, tasks)
    else:
        labels = folders.read_folders(args.folders, *tasks)
    return args.folders or args.images, checked(labels, args.min_paintings)


if __name__ == "__main__":
    raise SystemExit(main())
