"""Estimate the cost of a grid's missing runs from the finished ones."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from artnet.rundir import RunDir

from ..grid import Run


@dataclass(frozen=True)
class Cost:
    """The cost of a finished run in hours; `unit` is `GPU-hours` or `core-hours`."""

    hours: float
    unit: str


def cost(folder: RunDir, signature: str) -> Cost | None:
    """The cost of a run, over all of its attempts; None if it is not complete or has not recorded it."""
    result = folder.result(signature)
    attempts = folder.run().get("attempts") if result else None
    try:
        last = attempts[-1]  # type: ignore[index]  # any other type raises, see below
        on_cpus = last["device"] == "cpu"
        workers = last["world_size"] * (last["threads"] if on_cpus else 1)
        return Cost(result.seconds * workers / 3600, "core-hours" if on_cpus else "GPU-hours")  # type: ignore[union-attr]
    except (TypeError, LookupError):
        return None


def estimate(finished: Sequence[tuple[Run, Cost]], missing: Sequence[Run]) -> str:
    """`about 12 GPU-hours for 6 runs, from 3 finished ones`; empty if nothing has finished or nothing is missing.

    A run is estimated at the mean of those that differ from it only in the seed; if there are none, of all.
    """
    if not finished or not missing:
        return ""
    [(unit, _)] = Counter(taken.unit for _, taken in finished).most_common(1)
    alike: dict[str, list[float]] = defaultdict(list)
    for run, taken in finished:
        if taken.unit == unit:
            alike[_kind(run)].append(taken.hours)
    overall = statistics.fmean(hours for group in alike.values() for hours in group)
    total = sum(statistics.fmean(alike[_kind(run)]) if _kind(run) in alike else overall for run in missing)
    amount = f"{total:,.0f}" if total >= 10 else f"{total:.2g}"
    count = sum(map(len, alike.values()))
    runs, ones = "run" if len(missing) == 1 else "runs", "one" if count == 1 else "ones"
    return f"about {amount} {unit} for {len(missing)} {runs}, from {count} finished {ones}"


def _kind(run: Run) -> str:
    return repr([(key, value) for key, value in run.values.items() if key != "seed"])
