"""The status of the runs of a grid: one row each, from how they were found and the last lines of their metrics."""

import json
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from artnet.rundir import RunDir
from shards.files import LockError, is_locked
from shards.streams import reader_has_gone

from ..grid import Run
from ..sweep.state import ENDED_BADLY, LIVE, Found, State
from .session import Session, warn

_FIRST_TAIL, _LAST_TAIL = 1 << 14, 1 << 20  # bytes; an epoch's line may be far behind its steps' lines

# Colours, and the order of importance where not all rows fit.
_STYLES = {
    State.RUNNING: "green",
    **dict.fromkeys((State.FAILED, State.OUT_OF_MEMORY, State.TIMED_OUT, State.NODE_FAILED), "bold red"),
    State.UNREADABLE: "bold red",
    State.UNKNOWN: "yellow",
    State.CANCELLED: "red",
    State.INTERRUPTED: "yellow",
    State.REQUEUED: "cyan",
    State.SUBMITTING: "cyan",
    State.PENDING: "cyan",
    State.PLANNED: "dim",
    State.COMPLETE: "blue",
}


def show(session: Session, console: Console) -> int:
    """Print where each run is. Returns 1 if one has ended badly."""
    gone = session.dropped()
    runs, observed = session.observe()
    states = [observed.found[run.config.name].state for run in runs]
    if runs:
        metric = session.grid.metric["name"]
        found = rows(session.sweep.folder, runs, observed.found, metric)
        # Without a terminal no line is wrapped or cut, however long a reason is.
        wide = console if console.is_terminal else Console(file=console.file, width=10_000)
        wide.print(table(found, metric, wraps=console.is_terminal), highlight=False)
    console.print(f"{session.grid.name}: {counts(states)}{_selected(session)}", highlight=False)
    if gone:
        names = ", ".join(run.config.name for run in gone[:5]) + (", ..." if len(gone) > 5 else "")
        count = f"{len(gone)} {'run' if len(gone) == 1 else 'runs'}"
        console.print(f"not in this grid, but in its folder: {count} ({names})", highlight=False)
    warn(observed)
    return 1 if ended_badly(states) else 0


def _selected(session: Session) -> str:
    return f" of {len(session.everything.runs)}" if session.options.selects else ""


def watch(session: Session, console: Console) -> int:
    """Show the table until no run is alive or nobody looks; without a terminal, print a line whenever counts change.

    Returns 1 if a run has ended badly.
    """
    every, metric = session.options.watch_s or 0.0, session.grid.metric["name"]
    shown_counts, warned = "", ""
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as screen:
        while True:
            runs, observed = session.observe()
            if observed.trouble != warned:
                warned = observed.trouble
                warn(observed)
            states = [observed.found[run.config.name].state for run in runs]
            line = f"{session.grid.name}: {counts(states)}{_selected(session)}"
            over = not alive(states) and not _is_launching(session)
            if console.is_terminal:
                found = rows(session.sweep.folder, runs, observed.found, metric)
                shown = most_telling(found, max(1, console.height - 4))
                rest = f", {len(found) - len(shown)} not shown" if len(shown) < len(found) else ""
                screen.update(Group(table(shown, metric, wraps=False), Text(line + rest)), refresh=True)
            elif line != shown_counts:
                shown_counts = line
                console.print(line, highlight=False)
            if over or reader_has_gone():
                return 1 if ended_badly(states) else 0
            time.sleep(every)


def _is_launching(session: Session) -> bool:
    try:
        return is_locked(session.sweep.lock)
    except LockError:  # then no launcher can start
        return False


@dataclass(frozen=True)
class Row:
    """A run as the table shows it. None: not known yet. `to_go_s` is estimated from the epochs so far, in seconds."""

    name: str
    state: State
    reason: str = ""
    node: str = ""
    epoch: int | None = None
    epochs: int = 0
    metric: float | None = None
    images_per_s: float | None = None
    to_go_s: float | None = None
    limit: str = ""


def rows(sweep: Path, runs: Sequence[Run], found: Mapping[str, Found], metric: str) -> list[Row]:
    """A row for each run. `metric` is a key of the lines of metrics.jsonl that close an epoch."""
    return [_row(RunDir(sweep / run.config.name), run, found[run.config.name], metric) for run in runs]


def _row(folder: RunDir, run: Run, found: Found, metric: str) -> Row:
    last, closed = tail(folder.metrics_file)
    epochs = run.config.train.epochs
    running = found.state is State.RUNNING
    to_go = None
    if running and closed and closed["epoch"]:
        to_go = max(0.0, closed["seconds"] / closed["epoch"] * (epochs - closed["epoch"]))
        to_go = max(0.0, to_go - max(0.0, time.time() - max(closed["time"], _started(folder))))
    return Row(
        name=folder.name,
        state=found.state,
        reason=found.reason,
        node=found.node or (str(_attempt(folder).get("host", "")) if running else ""),
        epoch=last.get("epoch"),
        epochs=epochs,
        metric=closed.get(metric),
        images_per_s=last.get("images_per_s") if running or found.state is State.COMPLETE else None,
        to_go_s=to_go,
        limit=found.left if running else "",
    )


def tail(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last line of a metrics.jsonl, and the last one that closes an epoch; empty if there is no such line.

    Only the end of the file is read.
    """
    try:
        with file.open("rb") as metrics:
            end = os.fstat(metrics.fileno()).st_size
            size = _FIRST_TAIL
            while True:
                metrics.seek(max(0, end - size))
                lines = metrics.read(size).split(b"\n")
                if size < end:
                    del lines[0]  # cut
                last, closed = _last(lines)
                if closed or size >= min(end, _LAST_TAIL):
                    return last or closed, closed
                size *= 8
    except OSError:
        return {}, {}


def _last(lines: Sequence[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    last: dict[str, Any] = {}
    for line in reversed(lines):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and {"epoch", "time"} <= value.keys():
            last = last or value
            if value.get("kind") == "epoch" and "seconds" in value:
                return last, value
    return last, {}


def _attempt(folder: RunDir) -> dict[str, Any]:
    attempts = folder.run().get("attempts")
    return attempts[-1] if attempts else {}


def _started(folder: RunDir) -> float:
    """When the last attempt began, in seconds of `time.time()`; 0 if that is not known."""
    try:
        return folder.lock_file.stat().st_mtime
    except OSError:
        return 0.0


def counts(states: Sequence[State]) -> str:
    """`54 runs: 4 running, 40 pending, 10 complete`."""
    found = Counter(states)
    parts = (f"{found[state]} {state.replace('_', ' ')}" for state in State if found[state])
    return f"{len(states)} {'run' if len(states) == 1 else 'runs'}: {', '.join(parts)}"


def ended_badly(states: Sequence[State]) -> bool:
    """Whether one of the runs needs the user."""
    return any(state in ENDED_BADLY or state is State.UNREADABLE for state in states)


def alive(states: Sequence[State]) -> bool:
    """Whether one of the runs is alive: it waits or runs."""
    return any(state in LIVE for state in states)


def most_telling(rows: Sequence[Row], room: int) -> list[Row]:
    """The rows to show where there is `room` for so many: running and failed runs before waiting and complete ones."""
    order = list(_STYLES)
    return sorted(rows, key=lambda row: order.index(row.state))[:room]


def table(rows: Sequence[Row], metric: str, wraps: bool) -> Table:
    """The table. Empty columns are left out; `wraps` wraps long reasons instead of cutting them."""
    columns = {
        "run": [Text(row.name) for row in rows],
        "state": [Text(row.state.replace("_", " "), style=_STYLES[row.state]) for row in rows],
        "node": [Text(row.node) for row in rows],
        "epoch": [Text("" if row.epoch is None else f"{row.epoch}/{row.epochs}") for row in rows],
        f"last {metric}": [Text("" if row.metric is None else f"{row.metric:.4f}") for row in rows],
        "images/s": [Text("" if row.images_per_s is None else f"{row.images_per_s:.0f}") for row in rows],
        "to go": [Text(duration(row.to_go_s)) for row in rows],
        "limit in": [Text(row.limit) for row in rows],
        "reason": [Text(" ".join(row.reason.split())) for row in rows],
    }
    shown = Table(box=None, padding=(0, 2, 0, 0))
    filled = {title: cells for title, cells in columns.items() if any(cell.plain for cell in cells)}
    for title in filled:
        broken = wraps and title == "reason"
        shown.add_column(
            title,
            justify="left" if title in ("run", "state", "node", "reason") else "right",
            no_wrap=not broken,
            overflow="fold" if broken else "ellipsis",
        )
    for cells in zip(*filled.values(), strict=True):
        shown.add_row(*cells)
    return shown


def duration(seconds: float | None) -> str:
    """Seconds as `2:10:00`, or `1 day, 2:10:00`; nothing for None."""
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))
