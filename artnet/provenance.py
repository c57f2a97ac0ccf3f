"""Where a result came from: the code, the libraries, the time. Light to import (no torch)."""

import contextlib
import importlib.metadata
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .private import without_secrets
from .rundir import read_json

LIBRARIES = ("torch", "torchvision", "torchmetrics", "numpy", "pillow")
MAX_DIFF = 200_000  # characters of uncommitted changes that are kept


def now() -> str:
    """The time as people and programs read it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_state() -> dict[str, Any]:
    """The commit of this code and what was changed since; empty where there is no git or no repository.

    Where the changes look like a secret, a note stands in their place: many may read what is recorded.

    In a copy of the code that a launcher made, `snapshot.json` holds the state of the repository.
    """
    folder = Path(__file__).resolve().parents[1]
    if noted := read_json(folder / "snapshot.json"):
        return noted
    if not (folder / ".git").exists():
        return {}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, errors="replace").stdout

    try:
        return {"sha": git("rev-parse", "HEAD").strip(), "diff": without_secrets(git("diff", "HEAD"))[:MAX_DIFF]}
    except (OSError, subprocess.CalledProcessError):
        return {}


def process_start(process: int) -> str:
    """When a process of this machine started, as the system says it; empty if it is gone.

    Its id and this text identify it: ids are reused.
    """
    try:  # the 22nd field, in clock ticks since boot; the second one, the name, may hold spaces
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    except OSError:
        if Path("/proc/self").exists():
            return ""
    ps = ["ps", "-o", "lstart=", "-p", str(process)]
    with contextlib.suppress(OSError):  # macOS
        return subprocess.run(ps, capture_output=True, text=True).stdout.strip()
    return ""


def versions() -> dict[str, str]:
    """Versions of Python and the libraries that compute."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in LIBRARIES},
    }
