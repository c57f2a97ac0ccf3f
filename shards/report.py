"""`report.json` in the folder of the shards: what was packed, and which files are missing, unreadable or unclear."""

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import atomic_write
from .images import is_blank
from .labels import Labels
from .matching import Matches
from .splits import SPLITS
from .tars import read_image
from .tasks import splits_of

REPORT_NAME = "report.json"


MIN_SIDE = 33  # pixels: the least that a network can be trained with
MAX_RATIO = 10  # of the longer side to the shorter: a hand scroll, or a strip that is no painting


def known_before(labels: Labels, matches: Matches) -> dict[str, Any]:
    """Return the part of the report that is known before packing."""
    return {
        "images_without_label": matches.unlabelled,
        "images_in_doubt": matches.ambiguous,
        "not_taken": matches.not_taken,
        "listed_without_image": sorted(set(labels.paintings) - set(matches.paths.values())),
        "ambiguous": labels.ambiguous,
        "notes": list(labels.notes),
    }


def _odd(row: Mapping[str, Any], out: Path) -> str:
    """What is odd about a painting packed in `out`, given its row of the index; empty if nothing is."""
    short, long = sorted((row["width"], row["height"]))
    if short < MIN_SIDE:
        return f"only {row['width']:,} x {row['height']:,} pixels"
    if long > MAX_RATIO * short:
        return f"{row['width']:,} x {row['height']:,} pixels, {long / short:.0f} times as long as wide"
    # Without contrast, the perceptual hash is the beginning of the checksum: only these few have to be read.
    may_be_blank = row["sha256"].startswith(f"{row['phash']:016x}")
    return "blank, or nearly" if may_be_blank and is_blank(read_image(out, row)) else ""


def build_report(
    out: Path, labels: Labels, rows: Sequence[Mapping[str, Any]], groups: Sequence[str], unreadable: Mapping[str, str]
) -> dict[str, Any]:
    """Return the part of the report that is known after packing into `out`.

    `rows` are those of the index, `groups` names the group of near-duplicates of each row, and `unreadable` maps
    files that were left out to the reason.
    """
    members: dict[str, list[str]] = {}
    for row, group in zip(rows, groups, strict=True):
        members.setdefault(group, []).append(row["path"])
    return {
        "packed": len(rows),
        "unreadable": dict(unreadable),
        "odd": {row["path"]: remark for row in rows if (remark := _odd(row, out))},
        "near_duplicates": sorted(sorted(paths) for paths in members.values() if len(paths) > 1),
        "classes": {
            task: {name: count[label] for label, name in enumerate(labels.classes[task])}
            for task in labels.classes
            if (count := Counter(row[task] for row in rows))
        },
        "splits": {
            task: {split: count[split] for split in SPLITS}
            for task in splits_of(labels.classes)
            if (count := Counter(row[f"split_{task}"] for row in rows))
        },
    }


def write_report(out: Path, report: Mapping[str, Any]) -> None:
    """Write the report into the folder of the shards."""
    # File names need not be UTF-8.
    text = json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
    atomic_write(out / REPORT_NAME, text + b"\n")


def check_nothing_missing(out: Path, known: Mapping[str, Any]) -> None:
    """Raise `UserError` if a listed painting has no image or an image no label.

    `known` is the part of the report that is known before packing. On error it is written, so that the report names
    the files.
    """
    counts = {
        "listed paintings without an image": len(known["listed_without_image"]),
        "images without a label": len(known["images_without_label"]),
    }
    found = ", ".join(f"{what}: {count:,}" for what, count in counts.items() if count)
    if found:
        before = {}
        with contextlib.suppress(OSError, ValueError):  # keep the rest of the report of an earlier packing
            before = dict(json.loads((out / REPORT_NAME).read_bytes()))
        write_report(out, {**before, **known})
        pair = ""
        if known["images_without_label"] and known["listed_without_image"]:
            image, listed = known["images_without_label"][0], known["listed_without_image"][0]
            pair = f", such as the image {image!r} and the listed {listed!r}"
        raise UserError(
            f"{found}, all named in {out / REPORT_NAME}{pair}; "
            "fix the images or the labels, or give --allow-missing to pack the rest"
        )


def print_notes(report: Mapping[str, Any], out: Path, keep_leaks: bool) -> None:
    """Print how many files and paintings are missing, left out or odd."""
    suffixes = ", ".join(f"{count:,} {suffix}" for suffix, count in report["not_taken"].items())
    separated = "" if keep_leaks else ", never on both sides of a split"
    notes = {
        "unreadable and left out": len(report["unreadable"]),
        "images without a label": len(report["images_without_label"]),
        "listed paintings without an image": len(report["listed_without_image"]),
        "paintings with two classes in one task": len(report["ambiguous"]),
        "paintings of odd size, or blank": len(report["odd"]),
        f"other files, not taken ({suffixes})": sum(report["not_taken"].values()),
        f"groups of near-duplicates{separated}": len(report["near_duplicates"]),
    }
    for what, count in notes.items():
        if count:
            print(f"  {count:,} {what}; see {out / REPORT_NAME}")
