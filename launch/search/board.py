"""What a search shows while it goes on: a table on a terminal, lines elsewhere."""

import getpass
import math
import os
import shlex
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shards.streams import filled, harmless

from ..console import say
from ..grid.space import shown
from .history import History
from .study import Study
from .trials import Outcome, Trial

EVERY_S = 2.0  # between two looks at the folder, on a terminal
PLAIN_EVERY_S = 30.0  # between two summaries elsewhere
ROWS = 8


class Board:
    """Shows the events of a search; `refresh` is called all the time."""

    def __init__(self, study: Study, folder: Path) -> None:
        self.study = study
        self.folder = folder
        self.looked = time.monotonic()
        console = Console(stderr=True)
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            self.live.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Show an event of the driver: the address of the dashboard, or what happened to a run."""
        lines = []
        if "dashboard" in event:
            lines = doors(str(event["dashboard"]), str(event.get("token", "")), self.folder)
        elif "say" in event and not (self.live and event.get("epoch")):  # the table shows epochs
            lines = [str(event["say"])]
        for line in lines:
            if self.live:
                self.live.console.print(Text(harmless(line)), soft_wrap=True)
            else:
                say(line)

    def refresh(self) -> None:
        """Look at the sweep's folder, now and then."""
        if time.monotonic() - self.looked < (EVERY_S if self.live else PLAIN_EVERY_S):
            return
        history = self.study.history()
        if self.live:
            shown = trials(self.study, history, self.live.console)
            self.live.update(Group(shown, Text(summary(self.study, history))), refresh=True)
        else:
            say(summary(self.study, history))
        self.looked = time.monotonic()


def doors(dashboard: str, token: str, folder: Path) -> list[str]:
    """How to look at the search: Ray's dashboard, its token, from another computer, and TensorBoard."""
    lines = []
    if dashboard:
        lines.append(f"Ray dashboard: {dashboard}" + (f"   its token: {token}" if token else ""))
        if token:
            lines.append(
                f"  to print it: RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={shlex.quote(token)} ray get-auth-token"
            )
        if os.environ.get("SSH_CONNECTION"):
            port = urlsplit(dashboard).port
            host = f"{getpass.getuser()}@{socket.gethostname()}"
            lines.append(f"  from your computer: ssh -L {port}:127.0.0.1:{port} {host}")
    lines.append(f"curves: tensorboard --logdir {shlex.quote(str(folder))}")
    return lines


def summary(study: Study, history: History) -> str:
    """The search in one line."""
    counts = {outcome: sum(trial.outcome is outcome for trial in history.trials) for outcome in Outcome}
    running = sum(trial.outcome is Outcome.OPEN and bool(trial.curve) for trial in history.trials)
    parts = [
        f"{running} running",
        f"{counts[Outcome.COMPLETE]} complete",
        f"{counts[Outcome.STOPPED_EARLY]} stopped early",
    ]
    if bad := counts[Outcome.FAILED] + counts[Outcome.UNTRAINABLE]:
        parts.append(f"{bad} failed")
    of = f" of {study.count}" if study.count else ""
    budget = study.block.budget
    spent = f"{history.epochs:,} epochs" + (f" of {budget.epochs:,}" if budget and budget.epochs else "")
    if budget and budget.hours:
        spent += f", {history.hours:.2g} of {budget.hours:g} hours"
    best = leaders(study, history)[:1]
    metric, rules = study.grid.metric["name"], study.scheduler(history.trials)
    so_far = f"; best {metric} {rules.score(best[0].curve):.4f}, {best[0].folder.name}" if best else ""
    return f"{len(history.trials)}{of} configurations: {', '.join(parts)}; {spent}{so_far}"


def leaders(study: Study, history: History) -> list[Trial]:
    """The trials that have a score, the best first."""
    rules = study.scheduler(history.trials)
    known = [trial for trial in history.trials if not math.isnan(rules.score(trial.curve))]
    return sorted(known, key=lambda trial: (-1 if rules.maximize else 1) * rules.score(trial.curve))


def trials(study: Study, history: History, console: Console) -> RenderableType:
    """The runs at work and the best ones: a table, or where that is wider than the terminal, lines for each."""
    rules, best = study.scheduler(history.trials), leaders(study, history)
    keys = [one.key for one in study.space.drawn]
    header = ["", "state", "epoch", study.grid.metric["name"], *(key.rpartition(".")[2] for key in keys)]
    rows = []
    for trial in list({trial.n: trial for trial in [*history.open, *best]}.values())[:ROWS]:
        score = rules.score(trial.curve)
        state = "running" if trial.outcome is Outcome.OPEN else trial.outcome.value
        cells = [shown(trial.values[key]) if key in trial.values else "" for key in keys]
        epochs = f"{len(trial.curve)}/{trial.run.config.train.epochs}"
        rows.append([f"#{trial.n}", state, epochs, "" if math.isnan(score) else f"{score:.4f}", *cells])
    return table(header, rows, console.width)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> RenderableType:
    """A table of so many columns at most, else lines for each row with the names of its cells."""
    widths = [max(map(len, column)) + 2 for column in zip(header, *rows, strict=True)]
    if sum(widths) > width:
        facts = (
            [row[0], *(f"{name} {cell}" for name, cell in zip(header, row, strict=True) if name and cell)]
            for row in rows
        )
        return Text("\n".join("\n  ".join(filled(one, width - 2)) for one in facts))
    grid = Table(box=None, padding=(0, 2, 0, 0))
    for title in header:
        grid.add_column(title, no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    return grid
