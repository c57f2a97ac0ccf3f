"""Reading a table: CSV as spreadsheet programs and pandas write it, or Parquet. Every cell becomes text."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import UserError

DELIMITERS = ",;\t|"
Cell = str | list[str]


@dataclass(frozen=True)
class Rows:
    """A table by columns, which are as long as `places`, and named by `header`.

    A cell is text, or a list of texts where Parquet holds a list. A column is None if Parquet holds neither text nor
    numbers there. `places` says where in the file each row is, and `note` how the file was read if that is a guess.
    """

    header: list[str]
    columns: list[list[Cell] | None]
    places: list[str]
    note: str = ""


def read_rows(file: Path, content: bytes) -> Rows:
    """Read a table from the bytes of `file`. Raises `UserError` naming the file, and the row if one is wrong."""
    if content[:4] == b"PAR1":
        return _of_parquet(file, content)
    if content[:2] == b"PK" or content[:4] == b"\xd0\xcf\x11\xe0":
        raise UserError(f"{file} is a workbook; save the sheet as CSV in UTF-8 and give that as --table")
    if content[:2] == b"\x1f\x8b":
        raise UserError(f"{file} is compressed; unpack it, as by `gunzip`, and give the CSV file as --table")
    text, note = _text(file, content)
    lines = [(number, cells) for number, cells in _lines(file, text) if any(map(str.strip, cells))]
    if not lines:
        raise UserError(f"{file} is empty; it must have a header such as `path,artist,style` and a row per painting")
    header = list(map(str.strip, lines[0][1]))
    rows = []
    for number, cells in lines[1:]:
        if any(map(str.strip, cells[len(header) :])):
            raise UserError(
                f"{file}:{number}: {len(cells)} cells, but the header has {len(header)}; "
                "quote cells that hold the delimiter"
            )
        rows.append([*cells, *[""] * len(header)][: len(header)])
    columns: list[list[Cell] | None] = [[row[column] for row in rows] for column in range(len(header))]
    return Rows(header, columns, [f"{file}:{number}" for number, _ in lines[1:]], note)


def _text(file: Path, content: bytes) -> tuple[str, str]:
    """The text of a CSV file, and a sentence if its encoding is a guess."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ["utf-16"]
    elif b"\0" in content[:2]:
        encodings = ["utf-16-be" if content[:1] == b"\0" else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        guess = f"{file} is not UTF-8 and was read as Windows-1252; save it as CSV in UTF-8 if names are garbled"
        return text, guess if encoding == "cp1252" else ""
    raise UserError(f"{file} is not text; give a CSV file in UTF-8, or a Parquet file")


def _lines(file: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line, and the number of the line."""
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower() in [f"sep={delimiter}".strip() for delimiter in DELIMITERS]:  # Excel's
        delimiter, text, skipped = first.strip("\r")[4], rest, 1
    else:
        head = next((line for line in text.splitlines() if line.strip()), "")
        delimiter = max(DELIMITERS, key=lambda mark: len(next(csv.reader([head], delimiter=mark), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            yield reader.line_num + skipped, cells
    except csv.Error as error:
        line = reader.line_num + skipped
        raise UserError(f"{file}:{line}: not CSV ({error}); fix this line or the one above") from None


def _of_parquet(file: Path, content: bytes) -> Rows:
    try:
        table = pq.read_table(pa.BufferReader(content))
        columns = [_cells(column) for column in table.columns]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read as Parquet ({error}); write it again") from None
    return Rows(
        [str(name).strip() for name in table.column_names],
        columns,
        [f"{file}, row {number + 1}" for number in range(table.num_rows)],
    )


def _cells(column: pa.ChunkedArray) -> list[Cell] | None:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    of = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    if pa.types.is_nested(of) or pa.types.is_binary(of) or pa.types.is_large_binary(of):
        return None
    return [list(map(_as_text, cell)) if isinstance(cell, list) else _as_text(cell) for cell in column.to_pylist()]


def _as_text(value: Any) -> str:
    if value is None or value != value:  # NaN
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
