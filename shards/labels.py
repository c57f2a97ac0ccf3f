"""What paintings are labelled, and reading it from ArtGAN's label lists.

The lists are published by ArtGAN (Tan, Chan, Aguirre and Tanaka, "Improved ArtGAN for Conditional Synthesis of
Natural Image and Artwork", IEEE TIP 2019). Each task has a class file (`0 Albrecht_Durer`), a train and a val list of
`STYLE/artist_title.jpg,class`. They are published in two forms: in the repository, where some have no extension and
the artist lists start with a header and use a double comma, and as plain `wikiart_csv/artist_train.csv` in a zip.
"""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import UserError
from .tasks import TASKS, UNLABELLED, in_order, is_task


@dataclass
class Painting:
    """One painting.

    `labels` maps tasks to class indices, `listed` to the official list that names the painting (`train` or `val`).
    Both hold only the tasks that it is labelled for. `split` is the one that a table or a folder gives: `train`,
    `val`, `test`, or empty.
    """

    path: str
    labels: dict[str, int] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)
    split: str = ""

    def label(self, task: str) -> int:
        """Return the class index, or -1 if the painting is unlabelled in this task."""
        return self.labels.get(task, UNLABELLED)


@dataclass(frozen=True)
class Labels:
    """All labels of a source: ArtGAN's lists, a table, or folders.

    `classes` maps each task to its class names, in the order of their indices, and `paintings` each path to its
    painting. `ambiguous` names the paintings with two classes of one task; they are unlabelled in it. `digest` is a
    SHA-256 of the source, in hex, and `origin` says in errors where the labels are from. `is_official` are the lists,
    which bring their own splits. `notes` are sentences about what the source holds that is odd.
    """

    classes: dict[str, list[str]]
    paintings: dict[str, Painting]
    ambiguous: list[str]
    digest: str
    origin: str = field(default="", compare=False)
    is_official: bool = False
    notes: tuple[str, ...] = ()


def read_labels(folder: Path) -> Labels:
    """Read the lists under `folder`, in any layout that keeps the names of the files, with or without extension.

    The tasks are those of ArtGAN of which there is any list, and others of which there are all three. Raises
    `UserError` naming the file if a list is missing or exists twice, and naming file and line if a line is not a row
    or its class is out of range.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of ArtGAN's label lists as --labels")
    classes: dict[str, list[str]] = {}
    paintings: dict[str, Painting] = {}
    clashes: set[tuple[str, str]] = set()
    digest = hashlib.sha256()
    tasks = _tasks(folder)
    for task in tasks:
        class_file = find_list(folder, f"{task}_class")
        classes[task] = read_classes(class_file)
        digest.update(class_file.read_bytes())
        for listed in ("train", "val"):
            file = find_list(folder, f"{task}_{listed}")
            digest.update(file.read_bytes())
            for path, label in _read_rows(file, len(classes[task])):
                painting = paintings.setdefault(path, Painting(path))
                if painting.labels.setdefault(task, label) != label:
                    clashes.add((task, path))
                painting.listed.setdefault(task, listed)
    for task, path in clashes:
        del paintings[path].labels[task], paintings[path].listed[task]
    ambiguous = [f"{path}: two classes of {task}" for task, path in sorted(clashes)]
    missing = [task for task in TASKS if task not in tasks]
    notes = (f"{folder} has no lists of {' and '.join(missing)}",) if missing else ()
    origin = f"the lists of {folder}"
    return Labels(classes, paintings, ambiguous, digest.hexdigest(), origin, is_official=True, notes=notes)


def _tasks(folder: Path) -> list[str]:
    stems = {path.name.partition(".")[0] for path in folder.rglob("*_*") if path.is_file()}
    lists: dict[str, list[str]] = {}
    for stem in stems:
        task, _, kind = stem.rpartition("_")
        if is_task(task) and kind in ("class", "train", "val"):
            lists.setdefault(task, []).append(kind)
    return in_order(task for task, kinds in lists.items() if task in TASKS or len(kinds) == 3) or list(TASKS)


def find_list(folder: Path, stem: str) -> Path:
    """Return the file named `stem` under `folder`, with or without an extension.

    Raises `UserError` if there is no such file, or more than one.
    """
    found = sorted(p for p in folder.rglob(f"{stem}*") if p.is_file() and p.name.partition(".")[0] == stem)
    if not found:
        raise UserError(f"{folder} has no file named {stem}; give a folder of ArtGAN's WikiArt label lists")
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]} have the same name; move one of them out of {folder}")
    return found[0]


def _read_lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as UTF-8 text ({error}); download it again") from None
    # Not splitlines(): some garbled names contain characters that it treats as line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def read_classes(file: Path) -> list[str]:
    """Return the names in a class file, in the order of their indices. Raises `UserError` naming file and line."""
    names: list[str] = []
    for number, line in _read_lines(file):
        index, _, name = line.partition(" ")
        if index != str(len(names)) or not name.strip():
            raise UserError(f"{file}:{number}: {line!r} should be `{len(names)} Class_Name`; fix the class file")
        names.append(name.strip())
    if not names:
        raise UserError(f"{file} is empty; it must have one `INDEX Class_Name` per line")
    return names


def _read_rows(file: Path, classes: int) -> Iterator[tuple[str, int]]:
    for number, line in _read_lines(file):
        path, label = _split_row(line)
        if number == 1 and path and "/" not in path and (not any(map(str.isdigit, label)) or "." not in path):
            continue  # the header of the artist lists, or of pandas
        if path and label == str(UNLABELLED):
            continue
        if not path or not label.isdecimal() or len(label) > 6 or int(label) >= classes:
            raise UserError(
                f"{file}:{number}: {line[:120]!r} should be `STYLE/NAME.jpg,CLASS` with a class "
                f"from 0 to {classes - 1}; fix the list"
            )
        yield path, int(label)


def _split_row(line: str) -> tuple[str, str]:
    """Return path and class of a row, whose path may be quoted or contain commas; both empty if it is not CSV.

    A path that Windows wrote gets slashes, and the number before it that pandas writes is left out.
    """
    try:
        *path, label = next(csv.reader([line], strict=True))
    except csv.Error:
        return "", ""
    if len(path) > 1 and (path[0].isdecimal() or not path[0]) and path[1]:
        path = path[1:]
    return ",".join(path).rstrip(", ").replace("\\", "/"), label.strip()
