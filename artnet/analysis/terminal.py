"""Tables on a terminal, never wider than it: where one does not fit, each row becomes a few lines."""

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shards.streams import filled

NARROW = 120  # columns, below which tasks have tables of their own
_FOLDED = 16  # columns that a first cell keeps at least
_LONG = 48  # that any other cell of words keeps


def print_table(
    console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[str] = ()
) -> None:
    """Print a table whose first column may fold, as may the columns of `words`; all others are numbers.

    Where that is still too wide, a row is its first cell, and below it the others with the names of their columns.
    """
    table = Table(box=box.SIMPLE_HEAD, title=Text(title), title_justify="left")
    needed = 1 + 3 * len(header)  # of edges and gaps
    for place, name in enumerate(header):
        width = max([len(name), *(len(row[place]) for row in rows)])
        folds = place == 0 or name in words
        least = min(width, _FOLDED if place == 0 else _LONG) if folds else width
        needed += least
        table.add_column(
            Text(name), justify="left" if folds else "right", min_width=least, overflow="fold", no_wrap=not folds
        )
    for row in rows:
        table.add_row(*map(Text, row))
    if needed <= console.width:
        console.print(table)
        return
    console.print(Text(title))
    for row in rows:
        console.print(Text(row[0], overflow="fold"))
        facts = [f"{name}: {cell}" for name, cell in zip(header[1:], row[1:], strict=True) if cell]
        for line in filled(facts, console.width - 2):
            console.print(Padding(Text(line, overflow="fold"), (0, 0, 0, 2)))
