"""How much disk files and folders take."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from artnet.config import RunConfig
from artnet.rundir import RunDir


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


def copies(config: RunConfig) -> int:
    """How many times the size of the weights a run's `last.pt` has: with the optimizer's state and the average."""
    moments = 2 if config.optim.name == "adamw" else 1
    return 1 + moments + (config.optim.ema_half_life > 0)


def estimate(finished: Sequence[tuple[RunConfig, RunDir]], starting: Sequence[RunConfig]) -> str:
    """What the runs to start take if they are as large as the finished ones; empty if there are none of either.

    As in `about 1.2 GB of disk, and up to 480.0 MB more for each run while it trains`.
    """
    if not finished or not starting:
        return ""
    kept = statistics.fmean(_kept(config, folder) for config, folder in finished)
    best = max(size(file) if (file := folder.checkpoints / "best.pt").exists() else 0 for _, folder in finished)
    # Of last.pt, while it is saved: the new one, the one that it replaces, and the one before.
    more = max((1 if config.train.keep == "all" else 3) * copies(config) * best for config in starting)
    meanwhile = f", and up to {in_words(more)} more for each run while it trains" if more else ""
    return f"about {in_words(kept * len(starting))} of disk{meanwhile}"


def _kept(config: RunConfig, folder: RunDir) -> int:
    """The bytes of a finished run that another like it keeps: earlier versions kept all checkpoints."""
    older = [folder.checkpoints / name for name in ("last.pt", "previous.pt") if config.train.keep == "best"]
    return size(folder.path) - sum(size(file) for file in older if file.exists())
