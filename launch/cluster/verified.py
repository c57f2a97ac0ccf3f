"""A snapshot is checked before its code runs: `python -I -c TEXT SNAPSHOT MODULE ARGUMENTS`, with this file's text.

The text and the name of the snapshot, which is its digest, travel in the job's own command. Nothing in the snapshot is
trusted before: -I keeps Python from importing from PYTHONPATH, and this file imports the standard library only.
"""

import hashlib
import os
import stat
import sys
from pathlib import Path

MARKER = "COMPLETE"


def problem(folder: str) -> str:
    """Why a snapshot is not what was taken; empty if it is.

    It holds the files of its marker, and what Python compiled from them; all belong to this user, and others cannot
    write to them.
    """
    root = Path(folder)
    try:
        marker = (root / MARKER).read_bytes()
        if hashlib.sha256(marker).hexdigest()[:16] != root.name:
            return f"{MARKER} is of other code"
        user, *lines = (line.split(" ", 2) for line in marker.decode().splitlines())
        missing = {name: digest for digest, _, name in lines}
        owners = (int(user[1]), os.getuid())  # in a container, either number may be this user's
        for path in (root, *root.rglob("*")):
            name, is_cache = str(path.relative_to(root)), path.parent.name == "__pycache__"
            try:
                about = path.lstat()
            except FileNotFoundError:
                if is_cache:  # another job's Python has just renamed it
                    continue
                raise
            is_folder = stat.S_ISDIR(about.st_mode)
            if not is_folder and not stat.S_ISREG(about.st_mode):
                return f"{name} is a link or a special file"
            if about.st_uid not in owners or about.st_mode & 0o022:
                return f"{name} belongs to another user, or others can write to it"
            if is_folder or name == MARKER:
                continue
            if repr(name) in missing:
                if hashlib.sha256(path.read_bytes()).hexdigest() != missing.pop(repr(name)):
                    return f"{name} has changed"
            elif not is_cache:
                return f"{name} was added"
        return f"{min(missing)} is missing" if missing else ""
    except (OSError, ValueError) as error:
        return str(error)


def main(folder: str, *command: str) -> None:
    """Run a module with its arguments if the snapshot is sound; else end with a sentence and exit code 2."""
    if why := problem(folder):
        print(f"error: the snapshot {folder} is not what was submitted ({why}); submit the grid again", file=sys.stderr)
        raise SystemExit(2)
    os.execv(sys.executable, [sys.executable, "-u", "-P", "-m", *command])  # noqa: S606


if __name__ == "__main__":
    main(*sys.argv[1:])
