"""`python -m shards.pack --images IMAGES --labels LABELS --out SHARDS`: paintings to WebDataset tar shards.

Every shard is a plain tar of pairs `KEY.jpg`, `KEY.json` that any WebDataset reader streams; `index.parquet` beside
them gives random access. A shard is written whole or not at all, so a killed run goes on where it was; one that was
damaged since is written again.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .duplicates import copy_groups, perceptual_hash
from .errors import UserError, command
from .filenames import match_files
from .files import atomic_write, file_sha256, locked_patiently, remove_leftovers
from .images import UnreadableImageError, to_jpeg
from .index import INDEX_NAME, read_index, write_index
from .labels import TASKS, Labels, Painting, find_images, read_labels
from .progress import progress
from .report import REPORT_NAME, describe, refuse_missing, write_report
from .splits import add_options, check_options, make_splits, print_sizes
from .summary import write_summary
from .tars import read_checksums, read_rows, write_checksums, write_shard
from .workers import each

SHARD_SAMPLES = 1000
CLAIM_NAME = "pack.json"


@dataclass(frozen=True)
class Source:
    """A painting to pack: its row of the lists, its file and what the JPEG should be like."""

    painting: Painting
    file: Path
    short_side: int
    quality: int


@dataclass(frozen=True)
class Packed:
    """What became of a `Source`: JPEG bytes with size in pixels and hash, or the reason why there are none."""

    jpeg: bytes = b""
    width: int = 0
    height: int = 0
    phash: int = 0
    reason: str = ""


def pack(
    images: Path, labels_folder: Path, out: Path, short_side: int = 256, quality: int = 90,
    protocol: str = "artgan", seed: int = 0, keep_leaks: bool = False, allow_missing: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Pack every labelled image under `images` into `out` and return the report that is also left there.

    `protocol`, `seed` and `keep_leaks` are those of `splits.make_splits`; other splits of what is packed already pack
    nothing. Unless `allow_missing`, every listed painting must have an image and every image a label. `workers`
    processes do the work, one a core by default: the bytes are the same for any number of them.

    Raises `UserError` for unreadable lists, no images, an `out` that holds other shards, and what is missing; that
    before anything is packed, with a report that names it.
    """
    labels = read_labels(labels_folder)
    files = find_images(images)
    matched, doubtful = match_files(files, labels.paintings)
    if not matched:
        raise UserError(
            f"no image under {images} is named in the lists of {labels_folder}; check that they belong together"
        )
    sources = [
        Source(labels.paintings[path], images / file, short_side, quality)
        # A fixed order that mixes the classes, for readers that stream the shards one after the other.
        for file, path in sorted(matched.items(), key=lambda pair: hashlib.sha256(pair[1].encode()).digest())
    ]
    claim = _claim(sources, labels)
    _refuse_others(out, claim)
    known = {
        "images_without_label": sorted(set(files) - set(matched)),
        "images_in_doubt": doubtful,
        "listed_without_image": sorted(set(labels.paintings) - set(matched.values())),
        "ambiguous": labels.ambiguous,
    }
    if not allow_missing:
        refuse_missing(out, known)
    with locked_patiently(out / ".lock", f"another process is packing into {out}"):
        _refuse_others(out, claim)  # again: two may have begun at once
        if not (out / CLAIM_NAME).exists():
            atomic_write(out / CLAIM_NAME, claim)
        remove_leftovers(out)
        rows, checksums = _pack(out, sources, workers)
        paintings = [labels.paintings[str(row["path"])] for row in rows]
        copies = copy_groups(np.array([row["phash"] for row in rows], np.uint64))
        splits = make_splits(protocol, paintings, seed, copies, keep_leaks)
        for row, split in zip(rows, splits, strict=True):
            row.update({f"split_{task}": role for task, role in split.items()})
        packed = {row["path"] for row in rows}
        unreadable = {
            str(source.file): _prepare(source).reason or "readable only since"
            for source in sources
            if source.painting.path not in packed
        }
        report = {**known, **describe(labels, rows, copies, unreadable)}
        write_report(out, report)
        used = {name: checksums[name] for name in sorted({str(row["shard"]) for row in rows})}
        write_index(out, rows, labels.classes, used, {"protocol": protocol, "seed": seed})
        write_summary(read_index(out))
        return report


def _pack(out: Path, sources: Sequence[Source], workers: int | None) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Write the shards that are missing or damaged. Returns the index rows of all, without splits, and checksums."""
    shards = {
        f"wikiart-{number:06d}.tar": sources[start : start + SHARD_SAMPLES]
        for number, start in enumerate(range(0, len(sources), SHARD_SAMPLES))
    }
    recorded = read_checksums(out)
    checksums = _sound([out / name for name in shards], recorded)
    todo = [name for name in shards if name not in checksums]
    if todo:
        left = [source for name in todo for source in shards[name]]
        with progress("packing paintings", len(left)) as advance, each(_prepare, left, workers) as prepared:
            for name in todo:
                checksums[name] = write_shard(out / name, _samples(shards[name], prepared, advance))
                write_checksums(out, checksums)
                if checksums[name] != recorded.get(name, checksums[name]):
                    print(f"{out / name} is not as it was first packed: images have changed since", file=sys.stderr)
    rows = [row for name in shards for row in read_rows(out / name)]
    if not rows:
        raise UserError(f"no image could be read, {sources[0].file} for one: {_prepare(sources[0]).reason}")
    return rows, checksums


def _sound(files: Sequence[Path], recorded: Mapping[str, str]) -> dict[str, str]:
    """The checksums of those shards that are as they were packed; damaged ones are named on stderr."""
    sound = {}
    there = [file for file in files if file.exists()]
    with progress("checking shards", len(there)) as advance:
        for file in there:
            checksum = file_sha256(file)
            if checksum == recorded.get(file.name):
                sound[file.name] = checksum
            elif file.name in recorded:
                print(f"{file} has changed since it was packed; it is written again", file=sys.stderr)
            advance()
    return sound


def _claim(sources: Sequence[Source], labels: Labels) -> str:
    """What a folder says once it is the place of this packing."""
    inputs = hashlib.sha256(labels.digest.encode())
    for source in sources:
        inputs.update(f"{source.painting.path}\0{_size(source.file)}\n".encode())
    settings = {
        "version": 4,
        "short_side": sources[0].short_side,
        "quality": sources[0].quality,
        "shard_samples": SHARD_SAMPLES,
        "inputs": inputs.hexdigest(),
    }
    return json.dumps(settings)


def _refuse_others(out: Path, claim: str) -> None:
    """Raise `UserError` if `out` is the place of another packing, or no folder."""
    file = out / CLAIM_NAME
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder as --out")
    if file.exists():
        if file.read_bytes() != claim.encode():
            raise UserError(
                f"{out} holds shards of other paintings, labels or settings; choose another --out or delete it"
            )
    elif out.exists() and any(path.suffix == ".tar" or path.name == INDEX_NAME for path in out.iterdir()):
        raise UserError(f"{out} holds shards that were not made here; choose another --out")


def _size(file: Path) -> int:
    """In bytes; -1 of a link to nothing, which the report will name."""
    try:
        return file.stat().st_size
    except OSError:
        return -1


def _samples(
    sources: Sequence[Source], prepared: Iterator[Packed], advance: Callable[[], None]
) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """What goes into the shard of `sources`: `prepared` yields what became of each, and of the next shards'."""
    for source in sources:
        packed = next(prepared)
        if not packed.reason:
            about = {
                "path": source.painting.path,
                "width": packed.width,
                "height": packed.height,
                "phash": packed.phash,
                **{task: source.painting.label(task) for task in TASKS},
            }
            yield packed.jpeg, about
        advance()


def _prepare(source: Source) -> Packed:
    try:
        if not source.file.is_file():  # a pipe would be waited for, and a device never ends
            return Packed(reason="not a file, or a link to none")
        jpeg, width, height = to_jpeg(source.file.read_bytes(), source.short_side, source.quality)
        return Packed(jpeg, width, height, perceptual_hash(jpeg))
    except (UnreadableImageError, OSError, MemoryError) as error:
        return Packed(reason=str(error) or type(error).__name__)


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m shards.pack", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--images", type=Path, required=True, help="folder of STYLE/NAME.jpg")
    parser.add_argument("--labels", type=Path, required=True, help="folder of ArtGAN's label lists")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--short-side", type=int, default=256, help="pixels; smaller images stay (default: 256)")
    parser.add_argument("--quality", type=int, default=90, help="JPEG quality, 1 to 95 (default: 90)")
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="pack though listed paintings have no image or images no label; unreadable images are left out anyway",
    )
    parser.add_argument("--workers", type=int, help="processes (default: one for each core this one may use)")
    add_options(parser)
    args = parser.parse_args(argv)
    if args.short_side < 33 or not 1 <= args.quality <= 95:
        raise UserError("--short-side must be at least 33 pixels and --quality from 1 to 95")
    if args.workers is not None and args.workers < 1:
        raise UserError("--workers must be at least 1")
    check_options(args)
    how = (args.short_side, args.quality, args.protocol, args.seed, args.keep_leaks, args.allow_missing, args.workers)
    report = pack(args.images, args.labels, args.out, *how)
    index = read_index(args.out)
    shards = len(set(index.table["shard"].to_pylist()))
    print(f"{report['packed']} paintings in {shards} shards in {args.out}")
    print_sizes(report["splits"])
    notes = {
        "unreadable and left out": len(report["unreadable"]),
        "images without a label": len(report["images_without_label"]),
        "listed paintings without an image": len(report["listed_without_image"]),
        "paintings with two classes in one task": len(report["ambiguous"]),
        f"groups of near-duplicates{'' if args.keep_leaks else ', which share a role'}": len(report["near_duplicates"]),
    }
    for what, count in notes.items():
        if count:
            print(f"  {count:,} {what}; see {args.out / REPORT_NAME}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
