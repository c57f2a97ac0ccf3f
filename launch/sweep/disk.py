"""How much disk files and folders take."""

import statistics
from collections.abc import Sequence
from pathlib import Path


def size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files)


def in_words(size: float) -> str:
    """A size as people read it: `1.2 GB`."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def estimate(finished: Sequence[Path], missing: int) -> str:
    """`about 1.2 GB of disk`: what so many more runs take if they are as large as the finished ones; may be empty."""
    if not finished or not missing:
        return ""
    return f"about {in_words(statistics.fmean(map(size, finished)) * missing)} of disk"
