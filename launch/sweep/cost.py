"""Estimate the cost of a grid's missing runs from the finished ones."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from artnet.rundir import RunDir

from ..grid import Run

MAX_WORKERS = 1_000_000  # more ranks or threads than any machine has are no record of ours


@dataclass(frozen=True)
class Cost:
    """The cost of a finished run in hours; `unit` is `GPU-hours` or `core-hours`."""

    hours: float
    unit: str


def cost(folder: RunDir, signature: str) -> Cost | None:
    """The cost of a run, over all of its attempts; None if it is not complete or has not recorded it."""
    result = folder.result(signature)
    attempts = folder.run().get("attempts") if result else None
    if not result or not attempts:
        return None
    last = attempts[-1]
    on_cpus = last.get("device") == "cpu"
    factors = [last.get("world_size"), last.get("threads") if on_cpus else 1]
    if not isinstance(last.get("device"), str) or not all(type(n) is int and 0 < n <= MAX_WORKERS for n in factors):
        return None
    hours = result.seconds / 3600 * math.prod(factors)
    return Cost(hours, "core-hours" if on_cpus else "GPU-hours") if math.isfinite(hours) else None


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
