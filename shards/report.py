"""`report.json` in the folder of the shards: what was packed, and which files are missing, unreadable or unclear."""

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import atomic_write
from .labels import TASKS, Labels
from .splits import SPLITS

REPORT_NAME = "report.json"


def build_report(
    labels: Labels, rows: Sequence[Mapping[str, Any]], groups: Sequence[str], unreadable: Mapping[str, str]
) -> dict[str, Any]:
    """Return the part of the report that is known after packing.

    `rows` are those of the index, `groups` names the group of near-duplicates of each row, and `unreadable` maps
    files that were left out to the reason.
    """
    members: dict[str, list[str]] = {}
    for row, group in zip(rows, groups, strict=True):
        members.setdefault(group, []).append(row["path"])
    return {
        "packed": len(rows),
        "unreadable": dict(unreadable),
        "near_duplicates": sorted(sorted(paths) for paths in members.values() if len(paths) > 1),
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
        raise UserError(
            f"{found}, all named in {out / REPORT_NAME}; "
            "fix --images or --labels, or give --allow-missing to pack the rest"
        )
