"""`python -m shards.pack --images IMAGES --labels LABELS --out SHARDS`: paintings to WebDataset tar shards.

Every shard is a plain tar of pairs `KEY.jpg`, `KEY.json` that any WebDataset reader streams; `index.parquet` beside
them gives random access. A shard is written whole or not at all, so a killed run goes on where it was.
"""

import argparse
import hashlib
import io
import json
import re
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .copies import copy_groups, perceptual_hash
from .errors import UserError, command
from .files import atomic_open, atomic_write, file_sha256, locked_patiently, remove_leftovers
from .images import UnreadableImageError, to_jpeg
from .index import INDEX_NAME, read_index, write_index
from .labels import TASKS, Labels, Painting, find_images, read_labels
from .names import match_files
from .progress import progress
from .splits import SPLITS, add_options, check_options, make_splits, print_sizes
from .summary import write_summary
from .workers import each

SHARD_SAMPLES = 1000
CLAIM_NAME = "pack.json"
REPORT_NAME = "report.json"

Item = TypeVar("Item")


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

    key: str
    jpeg: bytes = b""
    width: int = 0
    height: int = 0
    phash: int = 0
    reason: str = ""


def pack(
    images: Path, labels_folder: Path, out: Path, short_side: int = 256, quality: int = 90,
    protocol: str = "artgan", seed: int = 0, keep_leaks: bool = False, allow_missing: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Pack every labelled image under `images` into `out` and return the report that is also left there.

    `protocol`, `seed` and `keep_leaks` are those of `splits.make_splits`; other splits of what is packed already pack
    nothing. Unless `allow_missing`, every listed painting must have an image and every image a label.

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
    claim = _claim(out, sources, labels)
    known = {
        "images_without_label": sorted(set(files) - set(matched)),
        "images_in_doubt": doubtful,
        "listed_without_image": sorted(set(labels.paintings) - set(matched.values())),
        "ambiguous": labels.ambiguous,
    }
    if not allow_missing:
        _refuse_missing(out, known)
    if not (out / CLAIM_NAME).exists():
        atomic_write(out / CLAIM_NAME, claim)
    with locked_patiently(out / ".lock", f"another process is packing into {out}"):
        remove_leftovers(out)
        rows = _pack(out, sources)
        paintings = [labels.paintings[str(row["path"])] for row in rows]
        copies = copy_groups(np.array([row["phash"] for row in rows], np.uint64))
        splits = make_splits(protocol, paintings, seed, copies, keep_leaks)
        for row, split in zip(rows, splits, strict=True):
            row.update({f"split_{task}": role for task, role in split.items()})
        report = {**known, **_report(labels, sources, rows, copies)}
        _write_report(out, report)
        checksums = {name: file_sha256(out / name) for name in sorted({str(row["shard"]) for row in rows})}
        write_index(out, rows, labels.classes, checksums, {"protocol": protocol, "seed": seed})
        write_summary(read_index(out))
        return report


def _pack(out: Path, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Write the shards that are missing and return the index rows of all, without splits."""
    shards = [sources[start : start + SHARD_SAMPLES] for start in range(0, len(sources), SHARD_SAMPLES)]
    names = [f"wikiart-{number:06d}.tar" for number in range(len(shards))]
    _write_missing([(out / name, shard) for name, shard in zip(names, shards, strict=True)])
    rows = [row for name in names for row in _index_rows(out / name)]
    if not rows:
        raise UserError(f"no image could be read, {sources[0].file} for one: {_prepare(sources[0]).reason}")
    return rows


def _refuse_missing(out: Path, known: dict[str, Any]) -> None:
    missing, unlabelled = len(known["listed_without_image"]), len(known["images_without_label"])
    if missing or unlabelled:
        _write_report(out, known)
        raise UserError(
            f"listed paintings without an image: {missing:,}, images without a label: {unlabelled:,}, all named in "
            f"{out / REPORT_NAME}; mend --images or --labels, or give --allow-missing to pack the rest"
        )


def _write_report(out: Path, report: dict[str, Any]) -> None:
    # File names need not be UTF-8.
    text = json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
    atomic_write(out / REPORT_NAME, text + b"\n")


def _claim(out: Path, sources: Sequence[Source], labels: Labels) -> str:
    """What `out` says once it is the place of this packing. Raises `UserError` if it holds another."""
    inputs = hashlib.sha256(labels.digest.encode())
    for source in sources:
        inputs.update(f"{source.painting.path}\0{source.file.stat().st_size}\n".encode())
    settings = {
        "version": 3,
        "short_side": sources[0].short_side,
        "quality": sources[0].quality,
        "shard_samples": SHARD_SAMPLES,
        "inputs": inputs.hexdigest(),
    }
    claim = json.dumps(settings)
    file = out / CLAIM_NAME
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder as --out")
    if file.exists():
        if file.read_text(encoding="utf-8") != claim:
            raise UserError(
                f"{out} holds shards of other paintings, labels or settings; choose another --out or delete it"
            )
        return claim
    if out.exists() and any(path.suffix == ".tar" or path.name == INDEX_NAME for path in out.iterdir()):
        raise UserError(f"{out} holds shards that were not made here; choose another --out")
    return claim


def _write_missing(shards: Sequence[tuple[Path, Sequence[Source]]]) -> None:
    todo = [(file, sources) for file, sources in shards if not file.exists()]
    if not todo:
        return
    total = sum(len(sources) for _, sources in todo)
    with progress("packing paintings", total) as advance:
        for file, sources in todo:
            with each(_prepare, sources) as prepared:
                _write_shard(file, _counted(zip(sources, prepared, strict=True), advance))


def _counted(items: Iterable[Item], advance: Callable[[], None]) -> Iterator[Item]:
    for item in items:
        yield item
        advance()


def _prepare(source: Source) -> Packed:
    key = sample_key(source.painting.path)
    try:
        jpeg, width, height = to_jpeg(source.file.read_bytes(), source.short_side, source.quality)
        return Packed(key, jpeg, width, height, perceptual_hash(jpeg))
    except (UnreadableImageError, OSError) as error:
        return Packed(key, reason=str(error))


def sample_key(path: str) -> str:
    """A sample's name in its tar: readable ASCII without dots (readers split names there), unique by a hash."""
    plain = unicodedata.normalize("NFKD", Path(path).stem).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9_]+", "-", plain.lower()).strip("-")[:60]
    return f"{slug}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def _write_shard(file: Path, prepared: Iterable[tuple[Source, Packed]]) -> None:
    with (
        atomic_open(file) as handle,
        tarfile.open(fileobj=handle, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for source, packed in prepared:
            if packed.reason:
                continue
            about = {
                "path": source.painting.path,
                "width": packed.width,
                "height": packed.height,
                "phash": packed.phash,
                **{task: source.painting.label(task) for task in TASKS},
            }
            _add(tar, f"{packed.key}.jpg", packed.jpeg)
            _add(tar, f"{packed.key}.json", json.dumps(about, ensure_ascii=False).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner, time and mode at their defaults: the bytes depend on the paintings alone
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _index_rows(file: Path) -> list[dict[str, Any]]:
    """The index rows of a shard, read back from it: what is in the index is what is in the tar."""
    rows = []
    try:
        with tarfile.open(file, "r:") as tar:
            members = iter(tar)
            for image, about in zip(members, members, strict=True):
                data = tar.extractfile(image).read()  # type: ignore[union-attr]
                row = json.loads(tar.extractfile(about).read())  # type: ignore[union-attr]
                where = {"key": image.name.removesuffix(".jpg"), "shard": file.name}
                place = {
                    "offset": image.offset_data,
                    "length": image.size,
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
                rows.append({**where, **place, **row})
    except (tarfile.TarError, ValueError, OSError) as error:
        raise UserError(f"{file} is broken ({error}); delete it and pack again") from None
    return rows


def _report(labels: Labels, sources: Sequence[Source], rows: Sequence[dict], copies: Sequence[str]) -> dict[str, Any]:
    """What the report says of the packing itself."""
    packed = {row["path"] for row in rows}
    groups: dict[str, list[str]] = {}
    for row, copy in zip(rows, copies, strict=True):
        groups.setdefault(copy, []).append(row["path"])
    broken = [source for source in sources if source.painting.path not in packed]
    return {
        "packed": len(rows),
        "unreadable": {str(source.file): _prepare(source).reason for source in broken},
        "near_duplicates": sorted(sorted(group) for group in groups.values() if len(group) > 1),
        "classes": {
            task: {name: count[label] for label, name in enumerate(labels.classes[task])}
            for task in TASKS
            if (count := Counter(row[task] for row in rows))
        },
        "splits": {
            task: {split: count[split] for split in SPLITS}
            for task in (*TASKS, "combined")
            if (count := Counter(row[f"split_{task}"] for row in rows))
        },
    }


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
    add_options(parser)
    args = parser.parse_args(argv)
    if args.short_side < 33 or not 1 <= args.quality <= 95:
        raise UserError("--short-side must be at least 33 pixels and --quality from 1 to 95")
    check_options(args)
    how = (args.short_side, args.quality, args.protocol, args.seed, args.keep_leaks, args.allow_missing)
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
        "groups of near-duplicates, which share a role": len(report["near_duplicates"]),
    }
    for what, count in notes.items():
        if count:
            print(f"  {count:,} {what}; see {args.out / 'report.json'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
