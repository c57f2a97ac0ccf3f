"""A snapshot of the work tree, from which jobs import the code as it was when they were submitted.

    RUNS/SWEEP/code/3f9a1c7b20d4e5f6/     one for each state of the code, by its hash
      artnet/ launch/ shards/ ...         files that git tracks, and in these packages untracked ones, not ignored
      snapshot.json                       the commit, and the diff to it
      COMPLETE                            written last: whose it is, and the hash and the mode of every file

Others may read it, so files that hold keys or passwords by their names stay out, as does what links lead to outside the
tree. Others may write to the folders around it, so jobs check it before they run it: see `verified.py`.

A snapshot is small and stays: a job that waits for a week, or is requeued, needs it. When no job is pending or
running, `--clean` offers to remove it.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from artnet import provenance
from artnet.private import is_private
from shards.errors import UserError
from shards.files import atomic_write
from shards.locks import locked_patiently

from . import verified

MAX_BYTES = 200_000_000
PACKAGES = ("artnet", "launch", "shards")
_NAME = "[0-9a-f]{16}"
_LEFTOVER = r"\.[a-z0-9_]{8}\.tmp"  # a name of `mkdtemp`


def take(folder: Path, without: Path) -> Path:
    """The snapshot in `folder` of the current code; created if it is missing, repaired if it is damaged.

    `without` is the folder of all sweeps, which is left out if it lies in the work tree; if the work tree lies in it,
    only this sweep is left out. Raises `UserError` if the work tree holds more than code, and for a folder that
    PYTHONPATH cannot contain.
    """
    if os.pathsep in str(folder.resolve()):
        raise UserError(f"{folder} has {os.pathsep!r} in its name, which PYTHONPATH splits at; give another --runs")
    root = Path(__file__).resolve().parents[2]
    inside = root.is_relative_to(without.resolve())
    files = _read(root, _listed(root), folder.parent.resolve() if inside else without.resolve())
    files["snapshot.json"] = (json.dumps(provenance.git_state(), indent=2).encode() + b"\n", 0o644)
    listed = "".join(
        f"{hashlib.sha256(content).hexdigest()} {mode:03o} {name!r}\n"
        for name, (content, mode) in sorted(files.items())
    )
    with locked_patiently(folder / ".lock", f"another launcher copies the code to {folder}"):
        if folder.resolve() == folder.parent.resolve() / folder.name:  # a linked one may hold what others need
            for leftover in folder.glob(".*.tmp"):
                if re.fullmatch(_LEFTOVER, leftover.name):
                    shutil.rmtree(leftover, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=folder))
        marker = f"user {temporary.stat().st_uid}\n{listed}"  # some file systems map users to others
        target = folder.resolve() / hashlib.sha256(marker.encode()).hexdigest()[:16]
        if verified.problem(str(target)):
            _write(temporary / "new", files, marker)
            with contextlib.suppress(FileNotFoundError):
                target.rename(temporary / "damaged")
            (temporary / "new").rename(target)
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def all_in(folder: Path) -> list[Path]:
    """The snapshots in a folder, which may hold other things."""
    return sorted(path for path in folder.glob("*") if re.fullmatch(_NAME, path.name))


def is_one(code: Path) -> bool:
    """Whether a folder of code is a snapshot, by its name."""
    return code.parent.name == "code" and bool(re.fullmatch(_NAME, code.name))


_Files = dict[str, tuple[bytes, int]]  # file name -> content, and mode


def _listed(root: Path) -> list[str]:
    """The files of the code: according to git, or those of the packages where there is no git."""
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "ls-files", "-z"]
        untracked = [*command, "--others", "--exclude-standard", "--", *PACKAGES]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            listed = [subprocess.run(each, capture_output=True, check=True).stdout for each in (command, untracked)]
            return sorted({os.fsdecode(name) for names in listed for name in names.split(b"\0") if name})
    found = (path for package in PACKAGES for path in (root / package).rglob("*") if "__pycache__" not in path.parts)
    return sorted(str(path.relative_to(root)) for path in found)


def _read(root: Path, names: list[str], without: Path) -> _Files:
    """Read all files first, so that the hash and the copy are of the same content."""
    files: _Files = {}
    total, public = 0, {name for name in names if not is_private(name)}
    for name in sorted(public):
        with contextlib.suppress(FileNotFoundError):  # deleted, but still in git's index
            path = (root / name).resolve(strict=True)
            if not path.is_relative_to(root) or str(path.relative_to(root)) not in public:  # what a link leads to
                continue
            about = path.stat()
            if not stat.S_ISREG(about.st_mode) or path.is_relative_to(without):
                continue
            total += about.st_size
            if total > MAX_BYTES:
                raise UserError(
                    f"{root} holds over {MAX_BYTES / 1e6:.0f} MB of code, up to {name}, too much for a snapshot; "
                    "add files that are not code to .gitignore, or give --no-snapshot"
                )
            files[name] = (path.read_bytes(), about.st_mode & 0o755)
    return files


def _write(target: Path, files: _Files, marker: str) -> None:
    """Write the snapshot so that no other user can change it, whatever the umask."""
    folders = {parent for name in files for parent in Path(name).parents}
    # Python would create these with the umask, and runs what it finds there.
    caches = {Path(name).parent / "__pycache__" for name in files if name.endswith(".py")}
    for folder in sorted(folders | caches):
        (target / folder).mkdir()
        (target / folder).chmod(0o755)
    for name, (content, mode) in files.items():
        atomic_write(target / name, content, mode)
    atomic_write(target / verified.MARKER, marker, 0o644)
