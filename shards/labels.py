"""ArtGAN's label lists: one table of paintings, and the file of each on disk.

The lists are published by ArtGAN (Tan, Chan, Aguirre and Tanaka, "Improved ArtGAN for Conditional Synthesis of
Natural Image and Artwork", IEEE TIP 2019). Per task there is a class file (`0 Albrecht_Durer`) and a train and a
val list of `STYLE/artist_title.jpg,class`. They are published twice: in the repository, where some have no extension
and the artist lists open with a header and use a double comma, and as plain `wikiart_csv/artist_train.csv` in a zip.
"""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .errors import UserError

TASKS = ("artist", "style", "genre")
UNLABELLED = -1
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass
class Painting:
    """One painting of the lists. `labels` and `listed` (`train` or `val`) hold only the tasks that know it."""

    path: str
    labels: dict[str, int] = field(default_factory=dict)
    listed: dict[str, str] = field(default_factory=dict)

    def label(self, task: str) -> int:
        """The class index, or -1 for unlabelled: that is no class of its own."""
        return self.labels.get(task, UNLABELLED)


@dataclass(frozen=True)
class Labels:
    """All the lists. `ambiguous` names what has two classes in one task, and so none in it."""

    classes: dict[str, list[str]]
    paintings: dict[str, Painting]
    ambiguous: list[str]
    digest: str


def read_labels(folder: Path) -> Labels:
    """Read the lists under `folder`: any layout in which the files keep their names, extension or not.

    Raises `UserError` naming the file for a list that is missing or there twice, and the line too for a line that is
    no row and a class out of range.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the folder of ArtGAN's label lists as --labels")
    classes: dict[str, list[str]] = {}
    paintings: dict[str, Painting] = {}
    clashes: set[tuple[str, str]] = set()
    digest = hashlib.sha256()
    for task in TASKS:
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
    return Labels(classes, paintings, ambiguous, digest.hexdigest())


def find_list(folder: Path, stem: str) -> Path:
    """The one file named `stem` under `folder`, with or without an extension. Raises `UserError`."""
    found = sorted(p for p in folder.rglob(f"{stem}*") if p.is_file() and p.name.partition(".")[0] == stem)
    if not found:
        raise UserError(f"{folder} holds no file named {stem}; it must hold one, as in ArtGAN's WikiArt label lists")
    if len(found) > 1:
        raise UserError(f"both {found[0]} and {found[1]} are a list of this name; move one of them out of {folder}")
    return found[0]


def _read_lines(file: Path) -> Iterator[tuple[int, str]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as UTF-8 text ({error}); download it again") from None
    # Not splitlines(): the mojibake of some names contains characters that it takes for line ends.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line.strip()


def read_classes(file: Path) -> list[str]:
    """The names of a class file, in the order of their indices. Raises `UserError` naming file and line."""
    names: list[str] = []
    for number, line in _read_lines(file):
        index, _, name = line.partition(" ")
        if index != str(len(names)) or not name.strip():
            raise UserError(f"{file}:{number}: {line!r} should be `{len(names)} Class_Name`; mend the class file")
        names.append(name.strip())
    if not names:
        raise UserError(f"{file} is empty; it must hold one `INDEX Class_Name` a line")
    return names


def _read_rows(file: Path, classes: int) -> Iterator[tuple[str, int]]:
    for number, line in _read_lines(file):
        path, label = _split_row(line)
        if number == 1 and path and "/" not in path and not any(map(str.isdigit, label)):
            continue  # the artist lists' header
        if path and label == str(UNLABELLED):
            continue
        if not path or not label.isdecimal() or len(label) > 6 or int(label) >= classes:
            raise UserError(
                f"{file}:{number}: {line[:120]!r} should be `STYLE/NAME.jpg,CLASS` with a class "
                f"from 0 to {classes - 1}; mend the list"
            )
        yield path, int(label)


def _split_row(line: str) -> tuple[str, str]:
    """Path and class of a row, whose path may be quoted or hold commas; both empty if it is no CSV."""
    try:
        *path, label = next(csv.reader([line], strict=True))
    except csv.Error:
        return "", ""
    return ",".join(path).rstrip(", "), label.strip()


def find_images(folder: Path) -> list[str]:
    """Paths of all images under `folder`, relative to it, in a fixed order. Raises `UserError` if there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the folder of images (STYLE/NAME.jpg) as --images")
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        # Not macOS's hidden `._NAME.jpg`; but links to nothing, pipes and folders, of which packing says why not.
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    if not found:
        raise UserError(f"{folder} holds no images (STYLE/NAME.jpg, .png or .webp); give the right folder as --images")
    return found
