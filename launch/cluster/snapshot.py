"""A snapshot of the work tree, from which jobs import the code as it was when they were submitted.

    RUNS/SWEEP/code/3f9a1c7b20d4e5f6/     one for each state of the code, by its hash
      artnet/ launch/ shards/ ...         files that git tracks, and untracked files that it does not ignore
      snapshot.json                       the commit, and the diff to it
      COMPLETE                            written last: the hash of every file

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
from shards.errors import UserError
from shards.files import atomic_write, locked_patiently

MAX_BYTES = 200_000_000
PACKAGES = ("artnet", "launch", "shards")
_MARKER = "COMPLETE"


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
    files["snapshot.json"] = (json.dumps(provenance.git_state(), indent=2).encode() + b"\n", False)
    marker = "".join(
        f"{hashlib.sha256(content).hexdigest()} {'x' if program else '-'} {name!r}\n"
        for name, (content, program) in sorted(files.items())
    )
    target = folder.resolve() / hashlib.sha256(marker.encode()).hexdigest()[:16]
    with locked_patiently(folder / ".lock", f"another launcher copies the code to {folder}"):
        for leftover in folder.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        if not target.exists():
            temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=folder))
            temporary.chmod(0o755)
            _write(temporary, files, marker)
            temporary.rename(target)
        elif not _is_whole(target, files, marker):
            _write(target, files, marker)
    return target


def all_in(folder: Path) -> list[Path]:
    """The snapshots in a folder, which may hold other things."""
    return sorted(path for path in folder.glob("*") if re.fullmatch("[0-9a-f]{16}", path.name))


_Files = dict[str, tuple[bytes, bool]]  # file name -> content, and whether it is executable


def _listed(root: Path) -> list[str]:
    """The files of the code: according to git, or those of the packages where there is no git."""
    if (root / ".git").exists():
        command = ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            names = subprocess.run(command, capture_output=True, check=True).stdout.split(b"\0")
            return sorted({os.fsdecode(name) for name in names if name})
    found = (path for package in PACKAGES for path in (root / package).rglob("*") if "__pycache__" not in path.parts)
    return sorted(str(path.relative_to(root)) for path in found)


def _read(root: Path, names: list[str], without: Path) -> _Files:
    """Read all files first, so that the hash and the copy are of the same content."""
    files: _Files = {}
    total = 0
    for name in names:
        path = root / name
        with contextlib.suppress(FileNotFoundError):  # deleted, but still in git's index
            about = path.stat()
            if not stat.S_ISREG(about.st_mode) or path.resolve().is_relative_to(without):
                continue
            total += about.st_size
            if total > MAX_BYTES:
                raise UserError(
                    f"{root} holds over {MAX_BYTES / 1e6:.0f} MB that git does not ignore, up to {name}, too much "
                    "for a snapshot; add files that are not code to .gitignore, or give --no-snapshot"
                )
            files[name] = (path.read_bytes(), bool(about.st_mode & stat.S_IXUSR))
    return files


def _write(target: Path, files: _Files, marker: str) -> None:
    for name, (content, program) in files.items():
        atomic_write(target / name, content)
        if program:
            (target / name).chmod(0o755)
    atomic_write(target / _MARKER, marker)


def _is_whole(target: Path, files: _Files, marker: str) -> bool:
    try:
        return (target / _MARKER).read_text(encoding="utf-8") == marker and all(
            (target / name).read_bytes() == content for name, (content, _) in files.items()
        )
    except OSError:
        return False
