"""`report.json` beside the shards: what was packed, and what is missing, unreadable or in doubt, by name."""

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


def describe(
    labels: Labels, rows: Sequence[Mapping[str, Any]], copies: Sequence[str], unreadable: Mapping[str, str]
) -> dict[str, Any]:
    """What the report says of a packing: `rows` of the index, the copy group of each, and why files were left out."""
    groups: dict[str, list[str]] = {}
    for row, copy in zip(rows, copies, strict=True):
        groups.setdefault(copy, []).append(row["path"])
    return {
        "packed": len(rows),
        "unreadable": dict(unreadable),
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


def write_report(out: Path, report: Mapping[str, Any]) -> None:
    """Write the report into the folder of the shards."""
    # File names need not be UTF-8.
    text = json.dumps(report, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace")
    atomic_write(out / REPORT_NAME, text + b"\n")


def refuse_missing(out: Path, known: Mapping[str, Any]) -> None:
    """Raise `UserError` if a listed painting has no image or an image no label, and leave a report that names them."""
    missing, unlabelled = len(known["listed_without_image"]), len(known["images_without_label"])
    if missing or unlabelled:
        before = {}
        with contextlib.suppress(OSError, ValueError):  # what a report says of an earlier packing stays
            before = dict(json.loads((out / REPORT_NAME).read_bytes()))
        write_report(out, {**before, **known})
        raise UserError(
            f"listed paintings without an image: {missing:,}, images without a label: {unlabelled:,}, all named in "
            f"{out / REPORT_NAME}; mend --images or --labels, or give --allow-missing to pack the rest"
        )
