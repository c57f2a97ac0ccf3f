"""Progress of long operations: a bar on a terminal, plain lines elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

PLAIN_INTERVAL_S = 5.0


class SpeedColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.1f}/s" if speed else "")


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Show the progress of `what` on stderr; the block calls the yielded function after each of `total` items."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            SpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
        return
    done, start = 0, time.monotonic()
    shown = start

    def advance() -> None:
        nonlocal done, shown
        done += 1
        now = time.monotonic()
        if now - shown >= PLAIN_INTERVAL_S:
            shown = now
            speed = done / (now - start)
            left = time_left((total - done) / speed)
            print(f"{what}: {done} of {total}, {speed:,.1f}/s, {left}", file=sys.stderr, flush=True)

    yield advance


def time_left(seconds: float) -> str:
    """Return a duration in hours, minutes or seconds."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.{0 if unit == 'min' else 1}f} {unit} left"
    return f"{seconds:.0f} s left"
