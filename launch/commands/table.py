"""The table of --status, and the blocks of lines that replace it where it is wider than the terminal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shards.streams import filled

from ..sweep.state import State

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
    State.STOPPED_EARLY: "blue",
}

_LEFT = ("run", "state", "node", "reason")


@dataclass(frozen=True)
class Row:
    """A run as the table shows it. None: not known yet. `to_go_s` is estimated from the epochs so far, in seconds.

    `values` are those that its name does not show; `score` is the metric on val of the last epoch, `best` that of the
    best one; `test` the mean test top-1 of its tasks; `age_s` the time since its training last wrote metrics.
    """

    name: str
    state: State
    reason: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    node: str = ""
    epoch: int | None = None
    epochs: int = 0
    score: float | None = None
    best: float | None = None
    test: float | None = None
    images_per_s: float | None = None
    to_go_s: float | None = None
    limit: str = ""
    age_s: float | None = None


def most_telling(rows: Sequence[Row], room: int) -> list[Row]:
    """The rows to show where there is `room` for so many: running and failed runs before waiting and complete ones."""
    order = list(_STYLES)
    return sorted(rows, key=lambda row: order.index(row.state))[:room]


def shown_rows(rows: Sequence[Row], metric: str, console: Console) -> RenderableType:
    """The table if it fits a terminal; else two or three lines for each run, so that nothing is cut."""
    found = table(rows, metric)
    unlimited = console.options.update_width(10_000)
    if not console.is_terminal or Measurement.get(console, unlimited, found).maximum <= console.width:
        return found
    return Group(*(block(row, metric, console.width) for row in rows))


def table(rows: Sequence[Row], metric: str) -> Table:
    """The table. Empty columns are left out."""
    values = dict.fromkeys(key for row in rows for key in row.values)
    score, unit = scale(metric)
    columns = {
        "run": [Text(row.name) for row in rows],
        **{key: [Text(row.values.get(key, "")) for row in rows] for key in values},
        "state": [_state(row) for row in rows],
        "node": [Text(row.node) for row in rows],
        "epoch": [Text("" if row.epoch is None else f"{row.epoch}/{row.epochs}") for row in rows],
        f"{metric}{unit}": [Text("" if row.score is None else score(row.score)) for row in rows],
        f"best{unit}": [Text("" if row.best is None else score(row.best)) for row in rows],
        "test/top1 %": [Text("" if row.test is None else _percent(row.test)) for row in rows],
        "images/s": [Text("" if row.images_per_s is None else f"{row.images_per_s:.0f}") for row in rows],
        "to go": [Text(duration(row.to_go_s)) for row in rows],
        "limit in": [Text(row.limit) for row in rows],
        "as of": [Text(ago(row.age_s)) for row in rows],
        "reason": [Text(" ".join(row.reason.split())) for row in rows],
    }
    shown = Table(box=None, padding=(0, 2, 0, 0))
    filled = {title: cells for title, cells in columns.items() if any(cell.plain for cell in cells)}
    for title in filled:
        shown.add_column(title, justify="left" if title in _LEFT else "right", no_wrap=True)
    for cells in zip(*filled.values(), strict=True):
        shown.add_row(*cells)
    return shown


def block(row: Row, metric: str, width: int) -> RenderableType:
    """A run on lines of its own: its name, what is known of it, and the reason for its state."""
    score, unit = scale(metric)
    facts = [
        *(f"{key}={value}" for key, value in row.values.items()),
        f"on {row.node}" if row.node else "",
        "" if row.epoch is None else f"epoch {row.epoch}/{row.epochs}",
        "" if row.score is None else f"{metric} {score(row.score)}{unit}",
        "" if row.best is None else f"best {score(row.best)}{unit}",
        "" if row.test is None else f"test/top1 {_percent(row.test)} %",
        "" if row.images_per_s is None else f"{row.images_per_s:.0f} images/s",
        "" if row.to_go_s is None else f"{duration(row.to_go_s)} to go",
        f"limit in {row.limit}" if row.limit else "",
        f"as of {ago(row.age_s)}" if row.age_s is not None else "",
    ]
    state = _state(row)
    lines = [Text(line) for line in filled([state.plain, *filter(None, facts)], width - 2)]
    lines[0].stylize(state.style, 0, len(state))
    lines += [Text(" ".join(row.reason.split()))] if row.reason else []
    return Group(Text(row.name, overflow="fold"), *(Padding(line, (0, 0, 0, 2)) for line in lines))


def _state(row: Row) -> Text:
    return Text(row.state.replace("_", " "), style=_STYLES[row.state])


def scale(metric: str) -> tuple[Callable[[float], str], str]:
    """How a metric is written, and its unit: shares are written in per cent."""
    return (
        (_percent, " %") if metric.rpartition("/")[2] in ("top1", "top5", "macro_f1", "ece") else ("{:.4f}".format, "")
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def duration(seconds: float | None) -> str:
    """Seconds as `2:10:00`, or `1 day, 2:10:00`; nothing for None."""
    return "" if seconds is None else str(timedelta(seconds=round(min(seconds, 1e9))))


def ago(seconds: float | None) -> str:
    """An age as people say it: `12 s ago`; nothing for None."""
    if seconds is None:
        return ""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"
