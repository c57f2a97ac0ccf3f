"""Paths in a configuration: `~` and variables expanded, and found beside the file that names them."""

import contextlib
import os
import re
from pathlib import Path

from shards.files import is_url


def expanded(source: object) -> object:
    """A path with `~` and `$VARIABLES` expanded; None for `none` and `no`. Values that are no path pass through.

    Raises `ValueError` for a mapping, and for a variable that is not set, unless there is a file whose name has the
    dollar sign.
    """
    if isinstance(source, dict):
        raise ValueError("a path is wanted; {sweep: ..., when: ...} is for init_from in a grid's file")
    if source is False or (isinstance(source, str) and source.strip().lower() == "none"):
        return None
    if not isinstance(source, str):
        return source
    path = os.path.expandvars(source)
    with contextlib.suppress(RuntimeError):  # no such user: a file whose name begins with ~
        path = str(Path(path).expanduser()) if path.startswith("~") else path
    unset = re.search(r"\$(\w+|\{[^}]*\})", path)
    if unset and not is_url(path) and not os.path.lexists(path):
        raise ValueError(f"the variable {unset[0]} is not set; export it or write the path in full")
    if "\0" in path:
        raise ValueError("a path has no null character")
    return path


def absolute(source: str) -> str:
    """The absolute path of a file, as a run may start in any folder; a URL as it is."""
    return source if is_url(source) else str(Path(source).resolve())


def beside(source: object, folder: Path) -> object:
    """A relative path that exists in `folder`, and not in the working directory, as absolute; else as it is."""
    if not isinstance(source, str):
        return source
    try:
        path = expanded(source)
    except ValueError:
        return source  # its field says what is wrong
    if not isinstance(path, str) or not path or is_url(path) or os.path.lexists(path):
        return source
    there = folder / path
    return str(there.resolve()) if os.path.lexists(there) else source
