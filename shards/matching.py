"""Which image is which painting: also where the folder of images begins at another level than the listed paths."""

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .filenames import match_files
from .labels import Labels
from .pictures import by_suffix, find_files, is_picture, is_usual

MAX_LEVELS = 12  # folders that one side may have before the other
COMPARED = 2_000  # listed paths that are compared with a file, to show the one that is most like it


@dataclass(frozen=True)
class Matches:
    """The listed path of each file, the listed paths that each ambiguous file may be, and the files that are neither.

    `unlabelled` are usual images and `not_taken` counts the others by suffix. `shift` is a file and its listed path
    where these begin at different levels.
    """

    paths: dict[str, str]
    ambiguous: dict[str, list[str]]
    unlabelled: list[str]
    not_taken: dict[str, int]
    shift: tuple[str, str] | None


def match_images(images: Path, labels: Labels) -> Matches:
    """Match the files under `images` to the paintings. Raises `UserError` if there are no images, or none matches."""
    files = find_files(images)
    candidates = [file for file in files if is_picture(file) or file in labels.paintings]
    if not candidates:
        lies = ", ".join(f"{count:,} {suffix}" for suffix, count in list(by_suffix(files).items())[:5])
        raise UserError(
            f"{images} has no images (STYLE/NAME.jpg, .png, .webp, .tif or others)"
            + (f", only {lies}" if lies else "")
            + "; give the right folder as --images"
        )
    paths, ambiguous = at_any_level(candidates, labels.paintings, images.absolute().name or images.resolve().name)
    if not paths:
        file = next(filter(is_usual, candidates), candidates[0])
        raise UserError(
            f"no image under {images} is named in {labels.origin}: an image is {file!r}, "
            f"and a listed path {_nearest(file, labels.paintings)!r}; check that they belong together"
        )
    rest = [file for file in files if file not in paths]
    shifted = next(((file, path) for file, path in paths.items() if file.count("/") != path.count("/")), None)
    return Matches(
        paths,
        ambiguous,
        [file for file in rest if is_usual(file)],
        by_suffix(file for file in rest if not is_usual(file)),
        shifted,
    )


def _nearest(file: str, listed: Iterable[str]) -> str:
    paths = sorted(listed, key=lambda path: path.rpartition("/")[2] != file.rpartition("/")[2])[:COMPARED]
    return difflib.get_close_matches(file, paths, n=1, cutoff=0)[0]


def at_any_level(
    files: Iterable[str], listed: Iterable[str], folder: str
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Match as `filenames.match_files`; if less than half match, also with some folders before either side.

    `folder` is the name of the folder that the files are in: the listed paths may begin with it. All files are matched
    at one level, the one at which the most do.
    """
    files, listed = list(files), list(listed)
    best = match_files(files, listed)
    for of_file, of_listed in _levels(files, listed, folder):
        if 2 * len(best[0]) >= min(len(files), len(listed)):
            break
        found = _match_at(files, listed, of_file, of_listed)
        best = max(best, found, key=lambda matches: len(matches[0]))
    return best


Change = Callable[[str], str]


def _levels(files: list[str], listed: list[str], folder: str) -> Iterator[tuple[Change, Change]]:
    yield (lambda file: f"{folder}/{file}"), str
    for level in range(1, 1 + min(MAX_LEVELS, max(file.count("/") for file in files))):
        yield (lambda file, level=level: _below(file, level)), str  # type: ignore[misc]
    for level in range(1, 1 + min(MAX_LEVELS, max((path.count("/") for path in listed), default=0))):
        yield str, (lambda path, level=level: _below(path, level))  # type: ignore[misc]


def _below(path: str, level: int) -> str:
    """The path without its first folders; itself if it has not so many."""
    parts = path.split("/")
    return "/".join(parts[level:]) if len(parts) > level else path


def _match_at(
    files: list[str], listed: list[str], of_file: Change, of_listed: Change
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Match by what the paths become at a level, where several may become one: these are ambiguous."""
    own: dict[str, list[str]] = defaultdict(list)
    theirs: dict[str, list[str]] = defaultdict(list)
    for file in files:
        own[of_file(file)].append(file)
    for path in listed:
        theirs[of_listed(path)].append(path)
    found, doubtful = match_files(own, theirs)
    matched: dict[str, str] = {}
    ambiguous = {
        file: [path for key in keys for path in theirs[key]]
        for own_key, keys in doubtful.items()
        for file in own[own_key]
    }
    for own_key, key in found.items():
        if len(own[own_key]) == len(theirs[key]) == 1:
            matched[own[own_key][0]] = theirs[key][0]
        else:
            ambiguous |= dict.fromkeys(own[own_key], theirs[key])
    return matched, ambiguous
