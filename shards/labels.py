"""ArtGAN's label lists: one table of paintings, and the file of each on disk.

The lists are published by ArtGAN (Tan, Chan, Aguirre and Tanaka, "Improved ArtGAN for Conditional Synthesis of
Natural Image and Artwork", IEEE TIP 2019). Per task there is a class file (`0 Albrecht_Durer`) and a train and a
val list of `STYLE/artist_title.jpg,class`. The artist lists open with a header and use a double comma.
"""

import hashlib
from collections.abc import Iterable, Iterator
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

    Raises `UserError` naming file and line for a missing list, a line that is no row, and a class out of range.
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
    if len(found) != 1:
        problem = f"several files named {stem}" if found else f"no file named {stem}"
        raise UserError(f"{folder} holds {problem}; it must hold one, as in ArtGAN's WikiArt label lists")
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
        path, _, label = line.rpartition(",")
        path, label = path.rstrip(", "), label.strip()
        if number == 1 and not label.isdecimal():
            continue  # the artist lists' header
        if not path or not label.isdecimal() or len(label) > 6 or int(label) >= classes:
            raise UserError(
                f"{file}:{number}: {line[:120]!r} should be `STYLE/NAME.jpg,CLASS` with a class "
                f"from 0 to {classes - 1}; mend the list"
            )
        yield path, int(label)


def find_images(folder: Path) -> list[str]:
    """Paths of all images under `folder`, relative to it, in a fixed order. Raises `UserError` if there are none."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give the folder of images (STYLE/NAME.jpg) as --images")
    found = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES  # links to nothing, pipes and folders too: packing says why not
    )
    if not found:
        raise UserError(f"{folder} holds no images (STYLE/NAME.jpg, .png or .webp); give the right folder as --images")
    return found


def match_files(files: Iterable[str], listed: Iterable[str]) -> dict[str, str]:
    """Which listed path each file is: exactly, else through `spellings`, else without its apostrophes.

    No path is given to two files, and none that some file has exactly is given to another. Files that match
    nothing are absent from the answer.
    """
    names = set(listed)
    files = list(files)
    matched = {name: name for name in files if name in names}
    taken = set(matched)
    bare: dict[str, list[str]] = {}
    for name in names - taken:
        bare.setdefault(_without_apostrophes(name), []).append(name)
    for name in files:
        if name in matched:
            continue
        for spelling in spellings(name):
            candidates = [spelling] if spelling in names else bare.get(_without_apostrophes(spelling), [])
            if len(candidates) == 1 and candidates[0] not in taken:
                matched[name] = candidates[0]
                taken.add(candidates[0])
                break
    return matched


def spellings(name: str) -> Iterator[str]:
    """The name, then what it was before zip tools took its UTF-8 for code page 437, and that for 866."""
    yield name
    for page in ("cp437", "cp866"):
        try:
            name = name.encode(page).decode("utf-8")
        except UnicodeError:
            return
        yield name


def _without_apostrophes(name: str) -> str:
    return name.translate({ord(mark): None for mark in "'’`"})
