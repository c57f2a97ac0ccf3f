"""What a run cost: where it trained, for how long, how fast and with how much memory, as it recorded it."""

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shards.files import open_regular

from ...rundir import numbers, parse_object
from ..results import Run, printable

_TAIL = 1 << 16  # bytes of metrics.jsonl


@dataclass(frozen=True)
class Resources:
    """`device` is the kind, such as "NVIDIA A100", of all attempts; `device_hours` the hours of all devices together.

    `images_per_s` is the median over epochs, `memory_gib` the peak. None or empty where it is not known.
    """

    device: str
    count: int | None
    host: str
    hours: float | None
    device_hours: float | None
    images_per_s: float | None
    memory_gib: float | None


def resources(run: Run, record: dict[str, Any], epochs: Sequence[dict[str, Any]]) -> Resources:
    """The resources of a run from `run.json` and the lines of metrics.jsonl that close an epoch."""
    attempts = record.get("attempts") or []
    speeds = [speed for line in epochs if math.isfinite(speed := line.get("images_per_s", math.nan))]
    return Resources(
        device=_names(attempts, "device"),
        count=_size(attempts[-1]) if attempts else None,
        host=_names(attempts, "host"),
        hours=run.result.seconds / 3600 if run.result else None,
        device_hours=_device_hours(run, attempts),
        images_per_s=statistics.median(speeds) if speeds else None,
        memory_gib=_memory(run),
    )


def _names(attempts: Sequence[dict[str, Any]], key: str) -> str:
    return " and ".join(dict.fromkeys(printable(attempt[key]) for attempt in attempts if attempt.get(key)))


def _size(attempt: dict[str, Any]) -> int | None:
    size = attempt.get("world_size")
    return size if isinstance(size, int) and size > 0 else None


def _memory(run: Run) -> float | None:
    """The peak of the last process that wrote a step, from the end of metrics.jsonl."""
    try:
        with open_regular(run.directory.metrics_file) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read(_TAIL).split(b"\n")
    except OSError:
        return None
    steps = (numbers(parse_object(line) or {}) for line in reversed(lines))
    found = next((line["memory_gib"] for line in steps if "memory_gib" in line), math.nan)
    return found if math.isfinite(found) else None


def _device_hours(run: Run, attempts: Sequence[dict[str, Any]]) -> float | None:
    """The time of training on as many devices; where attempts had other numbers of them, each attempt's time."""
    sizes = [_size(attempt) for attempt in attempts]
    known = [size for size in sizes if size]
    if not run.result or len(known) < len(sizes) or not known:
        return None
    if len(set(known)) == 1:
        return run.result.seconds * known[0] / 3600
    times = [_seconds(attempt) for attempt in attempts]
    parts = [time * size for time, size in zip(times, known, strict=True) if time is not None]
    return sum(parts) / 3600 if len(parts) == len(times) else None


def _seconds(attempt: dict[str, Any]) -> float | None:
    try:
        ended, started = (datetime.fromisoformat(attempt[key]) for key in ("ended", "started"))
        return (ended - started).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None
