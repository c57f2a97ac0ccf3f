"""The files in a folder of images: which are pictures by their names."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from .errors import UserError

# Of these every file must have a label, unless `--allow-missing`.
USUAL = {".jpg", ".jpeg", ".png", ".webp"}
# What `images.to_jpeg` decodes too.
OTHER = {
    *(".jpe", ".jfif", ".mpo", ".apng", ".gif", ".tif", ".tiff", ".bmp", ".dib", ".avif", ".avifs"),
    *(".jp2", ".j2k", ".jpc", ".jpf", ".jpx", ".j2c", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".pcx", ".psd", ".qoi"),
    *(".sgi", ".rgb"),
}
SUFFIXES = USUAL | OTHER


def find_files(folder: Path) -> list[str]:
    """Return the paths of all files under `folder`, relative to it, sorted. Raises `UserError` if it is no folder.

    Hidden files are left out, such as the `._NAME.jpg` of macOS. Broken links, pipes and folders that are named like
    images stay: packing reports them. Links to folders are followed.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of the images")
    return sorted(_files(folder, "", frozenset()))


def _files(folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[str]:
    real = folder.resolve()
    if real in above:  # by a link
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not is_usual(entry.name) and Path(entry.path).is_dir():
                yield from _files(folder / entry.name, f"{prefix}{entry.name}/", above | {real})
            else:
                yield prefix + entry.name


def find_images(folder: Path) -> list[str]:
    """Return the paths of all usual images under `folder`, as `find_files` does."""
    return [file for file in find_files(folder) if is_usual(file)]


def is_usual(file: str) -> bool:
    """Whether the name is that of an image that is expected to have a label."""
    return PurePosixPath(file).suffix.lower() in USUAL


def is_picture(file: str) -> bool:
    """Whether the name is that of an image that can be packed."""
    return PurePosixPath(file).suffix.lower() in SUFFIXES


def without_suffix(file: str) -> str:
    """The path without the suffix of an image: of a painting, only the way in which it is saved may have changed."""
    return file[: -len(PurePosixPath(file).suffix)] if is_picture(file) else file


def by_suffix(files: Iterable[str]) -> dict[str, int]:
    """How many of the files have each suffix, the most first."""
    return dict(Counter(PurePosixPath(file).suffix.lower() or "no suffix" for file in files).most_common())
