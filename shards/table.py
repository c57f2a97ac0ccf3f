"""Labels from one table: a row per painting, with its path and its class in each task.

    path,artist,style,split
    Cubism/a.jpg,Pablo Picasso,Cubism,train

The names of columns are those that people use, in any case. A task is a column: artist, style and genre by default, or
those that are asked for. An empty cell is unlabelled, and so is what pandas reads as missing. Kaggle's WikiArt, whose
`classes.csv` calls a list of styles `genre`, is known by its header.
"""

import ast
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import UserError
from .labels import Labels, Painting
from .rows import Cell, Rows, read_rows
from .tasks import NAME_RULE, RESERVED, TASKS, in_order, is_task, plain

PATHS = (
    *("path", "file_name", "filename", "file", "filepath", "file_path", "image", "image_path", "image_file"),
    *("image_name", "imagepath", "img", "img_path", "picture", "relative_path"),
)
SPLITS = ("split", "subset", "partition")
ROLES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# What pandas reads as missing, and so writes where something is: a class called `none` stays one.
MISSING = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A"),
    *("NA", "NULL", "NaN", "None", "n/a", "nan", "null", "NaT"),
}
KAGGLE = {"filename", "artist", "genre", "description", "phash", "genre_count", "subset"}
_WITHOUT_ARTIST = "uncertain artist"  # of Kaggle's subset
_INDEX = re.compile(r"|index|unnamed_\d+|level_\d+|index_level_\d+")  # the columns that pandas adds


def read_table(file: Path, asked: Sequence[str] = ()) -> Labels:
    """Read the labels of a table: the tasks that are `asked` for, or else its columns artist, style and genre.

    Raises `UserError` naming the file, and the row if one is wrong.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); give a CSV or Parquet file as --table") from None
    rows = read_rows(file, content)
    names = [plain(name) for name in rows.header]
    is_kaggle = set(names) >= KAGGLE
    if is_kaggle:
        names[names.index("genre")] = "style"
    path_column = _column(names, PATHS)
    if path_column is None:
        raise UserError(f"{file} has no column path, only {_listed(rows.header)}; name it in the first line")
    split_column = _column(names, SPLITS)
    tasks = _tasks(file, rows.header, names, asked, {path_column, split_column})
    paths = _texts(file, rows, path_column)
    labels = {task: _labels(file, rows, column) for task, column in tasks.items()}
    words = _texts(file, rows, split_column) if split_column is not None else [""] * len(paths)
    if is_kaggle:
        for row, word in enumerate(words):
            if word == _WITHOUT_ARTIST:
                words[row] = ""
                if "artist" in labels:
                    labels["artist"][row] = []
    splits = [_role(rows.places[row], word) for row, word in enumerate(words)]
    return _assembled(file, content, rows, paths, labels, splits, _unused(rows.header, names, tasks, asked))


def _column(names: Sequence[str], known: Iterable[str]) -> int | None:
    return next((names.index(name) for name in known if name in names), None)


def _listed(header: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in header)


def _tasks(
    file: Path, header: Sequence[str], names: Sequence[str], asked: Sequence[str], others: set[int | None]
) -> dict[str, int]:
    """The column of each task."""
    found: dict[str, int] = {}
    for text in asked:
        columns = [n for n, name in enumerate(header) if name == text] or [
            n for n, name in enumerate(names) if name == plain(text)
        ]
        if not columns:
            raise UserError(f"{file} has no column {text!r}, only {_listed(header)}; change --task")
        found[names[columns[0]]] = columns[0]
    if not asked:
        found = {task: names.index(task) for task in TASKS if task in names}
    if not found:
        rest = [n for n, name in enumerate(names) if n not in others and _may_be_task(name)]
        if len(rest) != 1:
            raise UserError(
                f"{file} has no column artist, style or genre, only {_listed(header)}; "
                "say which are the tasks: --task COLUMN"
            )
        found = {names[rest[0]]: rest[0]}
    for task, column in found.items():
        if not is_task(task) or column in others:
            raise UserError(f"{file}: the column {header[column]!r} cannot be a task: {NAME_RULE}; rename it")
        if names.count(task) > 1:
            raise UserError(f"{file} has {names.count(task)} columns {task}; rename or remove one")
    return {task: found[task] for task in in_order(found)}


def _may_be_task(name: str) -> bool:
    return name not in RESERVED and not _INDEX.fullmatch(name)


def _unused(header: Sequence[str], names: Sequence[str], tasks: dict[str, int], asked: Sequence[str]) -> str:
    """A sentence about columns that could have been asked for."""
    known = {*PATHS, *SPLITS, *KAGGLE, *tasks, "width", "height", "title", "url"}
    rest = [own for own, name in zip(header, names, strict=True) if name not in known and _may_be_task(name)]
    if asked or not rest:
        return ""
    return f"not used: {_listed(rest)}; --task names the columns to learn"


def _texts(file: Path, rows: Rows, column: int) -> list[str]:
    cells = rows.columns[column]
    if cells is None:
        raise UserError(f"{file}: the column {rows.header[column]!r} holds neither text nor numbers; give another")
    return [" ".join(cell).strip() if isinstance(cell, list) else cell.strip() for cell in cells]


def _labels(file: Path, rows: Rows, column: int) -> list[list[str]]:
    """The classes in each cell of a column: none, one, or several of a list."""
    _texts(file, rows, column)
    cells = rows.columns[column] or []
    found = [[name for item in _items(cell) if (name := _clean(item)) not in MISSING] for cell in cells]
    names = {name for own in found for name in own}
    if all(re.fullmatch(r"-?\d+(\.0+)?", name) for name in names):  # pandas writes 3 as 3.0 if another is missing
        found = [[name.partition(".")[0] for name in own] for own in found]
        found = [[name for name in own if name != "-1"] for own in found]
    return found


def _items(cell: Cell) -> list[str]:
    if isinstance(cell, list):
        return cell
    if cell.strip().startswith("[") and cell.strip().endswith("]"):
        try:
            items = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [cell]
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return items
    return [cell]


def _clean(name: str) -> str:
    """A class name on one line, in one of its spellings in Unicode."""
    shown = "".join(letter if letter.isprintable() else " " for letter in name)
    return unicodedata.normalize("NFC", " ".join(shown.split()))


def _role(place: str, word: str) -> str:
    if word in MISSING:
        return ""
    if word.lower() not in ROLES:
        raise UserError(f"{place}: the split {word!r} is not train, val or test; change it, or leave it empty")
    return ROLES[word.lower()]


def _assembled(
    file: Path, content: bytes, rows: Rows, paths: Sequence[str], labels: dict[str, list[list[str]]],
    splits: Sequence[str], unused: str,
) -> Labels:  # fmt: skip
    """Put the rows of each path together; what they contradict each other in is left out and named."""
    classes = {task: _in_order({name for own in found for name in own}) for task, found in labels.items()}
    index = {task: {name: label for label, name in enumerate(names)} for task, names in classes.items()}
    found: dict[str, dict[str, set[str]]] = {}
    roles: dict[str, set[str]] = {}
    for row, written in enumerate(paths):
        own = {task: set(cells[row]) for task, cells in labels.items()}
        path = _slashed(written)
        if not path:
            if not any(own.values()):
                continue
            raise UserError(f"{rows.places[row]}: the path is empty; give each painting its file")
        known = found.setdefault(path, {task: set() for task in labels})
        for task, names in own.items():
            known[task] |= names
        roles.setdefault(path, set()).update({splits[row]} - {""})
    paintings, ambiguous = {}, []
    for path, known in found.items():
        painting = Painting(path, split=next(iter(roles[path])) if len(roles[path]) == 1 else "")
        ambiguous += [f"{path}: two splits"] if len(roles[path]) > 1 else []
        for task, names in known.items():
            if len(names) == 1:
                painting.labels[task] = index[task][next(iter(names))]
            elif names:
                ambiguous.append(f"{path}: two classes of {task}")
        paintings[path] = painting
    digest = hashlib.sha256(repr(sorted(labels)).encode() + content).hexdigest()
    notes = tuple(filter(None, (rows.note, unused)))
    return Labels(classes, paintings, sorted(ambiguous), digest, str(file), notes=notes)


def _slashed(path: str) -> str:
    """The path with slashes, without what stands for the folder itself."""
    return re.sub(r"/+", "/", re.sub(r"^(\./)+", "", path.replace("\\", "/"))).strip("/")


def _in_order(names: set[str]) -> list[str]:
    return sorted(names, key=(lambda name: int(name)) if all(map(str.isdecimal, names)) else None)
