"""The status of the runs of a grid: one row each, from how they were found and the last lines of their metrics."""

import contextlib
import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from artnet.rundir import MAX_LINE, RunDir, numbers, parse_object
from shards.errors import UserError
from shards.files import open_regular
from shards.locks import LockError, is_locked
from shards.streams import harmless, reader_has_gone

from ..grid import Run
from ..grid.space import shown
from ..sweep.state import ENDED_BADLY, ENDED_WELL, LIVE, Found, Observation, State
from .session import Session, open_session, warn
from .table import Row, ago, most_telling, shown_rows

_FIRST_TAIL, _LAST_TAIL = 1 << 14, 1 << 20  # bytes; an epoch's line may be far behind its steps' lines


def show(session: Session, console: Console) -> int:
    """Print where each run is. Returns 1 if one has ended badly."""
    gone = session.dropped()
    runs, observed = session.observe()
    states = [observed.found[run.config.name].state for run in runs]
    if runs:
        metric = session.grid.metric["name"]
        found = rows(session, runs, observed.found)
        # Without a terminal no line is wrapped or cut, however long a reason is.
        wide = console if console.is_terminal else Console(file=console.file, width=10_000)
        wide.print(shown_rows(found, metric, console), highlight=False)
    console.print(f"{session.grid.name}: {counts(states)}{_selected(session)}{_age(observed)}", highlight=False)
    for line in _jobs(session):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if gone:
        names = ", ".join(run.config.name for run in gone[:5]) + (", ..." if len(gone) > 5 else "")
        count = f"{len(gone)} {'run' if len(gone) == 1 else 'runs'}"
        console.print(f"not in this grid, but in its folder: {count} ({names})", highlight=False)
    warn(observed)
    return 1 if ended_badly(states) else 0


def _jobs(session: Session) -> list[str]:
    """What there is to say of jobs that are no run's; empty if there are none, or that cannot be known."""
    with contextlib.suppress(UserError, OSError):  # then the states of the runs say so
        return session.engines.job_lines(session.sweep, fresh=False)
    return []


def _selected(session: Session) -> str:
    return f" of {len(session.everything.runs)}" if session.options.selects else ""


def _age(observed: Observation) -> str:
    """The age of what a scheduler said, where it was not asked again; nothing for a new answer."""
    return f" (SLURM as of {ago(observed.age_s)})" if observed.age_s else ""


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
            over = not alive(states) and not _is_launching(session) and not _jobs(session)
            if console.is_terminal:
                found = rows(session, runs, observed.found)
                fitting, room = found, console.height - 2
                while len(fitting) > 1 and len(console.render_lines(shown_rows(fitting, metric, console))) > room:
                    fitting = most_telling(found, min(room, len(fitting) - 1))
                rest = f", {len(found) - len(fitting)} not shown" if len(fitting) < len(found) else ""
                last = Text(line + rest + _age(observed))
                screen.update(Group(shown_rows(fitting, metric, console), last), refresh=True)
            elif line != shown_counts:
                shown_counts = line
                console.print(line + _age(observed), highlight=False)
            if over or reader_has_gone():
                return 1 if ended_badly(states) else 0
            time.sleep(every)
            if session.engines.own.draws:  # a search may have asked for more
                session = open_session(session.options, session.engines)


def _is_launching(session: Session) -> bool:
    try:
        return is_locked(session.sweep.lock)
    except LockError:  # then no launcher can start
        return False


def rows(session: Session, runs: Sequence[Run], found: Mapping[str, Found]) -> list[Row]:
    """A row for each run, with the grid's metric: a key of the lines of metrics.jsonl that close an epoch."""
    unnamed = not_in_names(session.everything.runs)
    return [_row(session.sweep.run(run), run, found[run.config.name], session.grid.metric, unnamed) for run in runs]


def not_in_names(runs: Sequence[Run]) -> dict[str, str]:
    """The keys in which runs differ whose names are alike but for the signature, each with a short title."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        alike.setdefault(run.config.name.rpartition("-")[0], []).append(run)
    keys = dict.fromkeys(
        key
        for group in alike.values()
        for key in (key for run in group for key in run.values)
        if len({shown(run.values.get(key, "")) for run in group}) > 1
    )
    short = Counter(key.rpartition(".")[2] for key in keys)
    return {key: last if short[last := key.rpartition(".")[2]] == 1 else key for key in keys}


def _row(folder: RunDir, run: Run, found: Found, metric: Mapping[str, str], unnamed: Mapping[str, str]) -> Row:
    last, closed = tail(folder.metrics_file)
    epochs = run.config.train.epochs
    running = found.state is State.RUNNING
    to_go = None
    if running and closed and closed["epoch"]:
        to_go = max(0.0, closed["seconds"] / closed["epoch"] * (epochs - closed["epoch"]))
        to_go = max(0.0, to_go - max(0.0, time.time() - max(closed["time"], _started(folder))))
    result = folder.result(run.config.signature) if found.state is State.COMPLETE else None
    return Row(
        name=folder.name,
        state=found.state,
        reason=harmless(found.reason),
        values={title: shown(run.values[key]) for key, title in unnamed.items() if key in run.values},
        node=harmless(found.node or (str(_attempt(folder).get("host", "")) if running else "")),
        epoch=last.get("epoch"),
        epochs=epochs,
        score=closed.get(metric["name"]),
        best=_best(folder, metric) if closed else None,
        test=fmean(task.test.top1 for task in result.tasks.values()) if result else None,
        images_per_s=last.get("images_per_s") if running or result else None,
        to_go_s=to_go,
        limit=harmless(found.left) if running else "",
        age_s=max(0.0, time.time() - last["time"]) if last and found.state not in ENDED_WELL else None,
    )


def _best(folder: RunDir, metric: Mapping[str, str]) -> float | None:
    """The best value of the grid's metric over the epochs so far."""
    known = [value for line in folder.epochs() if math.isfinite(value := line.get(metric["name"], math.nan))]
    return (max if metric["goal"] == "maximize" else min)(known, default=None)


def tail(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last line of a metrics.jsonl, and the last one that closes an epoch; empty if there is no such line.

    Only the end of the file is read.
    """
    try:
        with open_regular(file) as metrics:
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
        value = numbers(parse_object(line[:MAX_LINE]) or {})
        if {"epoch", "time"} <= value.keys():
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
