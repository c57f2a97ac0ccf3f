"""Answers as a table on the terminal, as CSV and as JSON lines."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shards.streams import cell

from .answers import TOP, Answer, Answered, in_one_line

MOST_WIDE = 28  # characters of a class name in a line


def print_answers(answered: Sequence[Answered], console: Console) -> None:
    """Print each picture with a table of its tasks, as wide as the terminal. What could not be read is left out."""
    names = [in_one_line(answer.classes[0]) for one in answered for answer in one.answers.values()]
    widest = min(max(map(cell_len, names), default=0), MOST_WIDE)
    for one in answered:
        if not one.answers:
            continue
        console.print(Text(one.shown), soft_wrap=True)  # not wrapped, so that it can be copied
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(width=widest, overflow="fold")
        table.add_column(width=len(percent(1)), justify="right")
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for task, answer in one.answers.items():
            agree = agreement(answer) if answer.runs > 1 else ""  # for one run the column has no width
            row = [f"  {task}", in_one_line(answer.classes[0]), percent(answer.probabilities[0]), agree, _rest(answer)]
            table.add_row(*map(Text, row))
        console.print(table)


def percent(share: float) -> str:
    """A share between 0 and 1 in per cent."""
    return f"{100 * share:.1f} %"


def agreement(answer: Answer) -> str:
    """How many runs have the first class as theirs, and the range of the probabilities that runs give to it."""
    return f"{answer.agreeing} of {answer.runs}, {100 * answer.lowest:.0f} to {100 * answer.highest:.0f} %"


def _rest(answer: Answer) -> str:
    rest = zip(answer.classes[1:], answer.probabilities[1:], strict=True)
    return ", ".join(f"{in_one_line(name)} {100 * share:.1f}" for name, share in rest)


def as_csv(answered: Sequence[Answered]) -> bytes:
    """A line for each picture and task, and for each picture that could not be read, with the reason as `error`.

    Probabilities are between 0 and 1. Bytes of a file name that are not UTF-8 are escaped.
    """
    numbered = [f"{name}_{number}" for number in range(1, TOP + 1) for name in ("class", "probability")]
    file = io.StringIO()
    writer = csv.DictWriter(
        file, ["file", "task", *numbered, "runs", "agreeing", "lowest", "highest", "error"], lineterminator="\n"
    )
    writer.writeheader()
    for one in answered:
        lines: list[dict[str, Any]] = [{"error": one.reason}] if one.reason else []
        for task, answer in one.answers.items():
            top = [value for pair in zip(answer.classes, answer.probabilities, strict=True) for value in pair]
            counts = {name: getattr(answer, name) for name in ("runs", "agreeing", "lowest", "highest")}
            lines.append({"task": task, **dict(zip(numbered, top, strict=False)), **counts})
        writer.writerows({name: cell(value) for name, value in {"file": one.name, **line}.items()} for line in lines)
    return file.getvalue().encode("utf-8", "backslashreplace")


def as_jsonl(answered: Sequence[Answered]) -> bytes:
    """A line for each picture: `file`, and `answers` by task with the fields of `Answer`, or an `error`."""
    lines = []
    for one in answered:
        answers = {task: asdict(answer) for task, answer in one.answers.items()}
        said = {"error": one.reason} if one.reason else {"answers": answers}
        lines.append(json.dumps({"file": one.name, **said}, ensure_ascii=False) + "\n")
    # Bytes of a file name that are not UTF-8 are lone surrogates, which so become escapes of JSON.
    return "".join(lines).encode("utf-8", "backslashreplace")
