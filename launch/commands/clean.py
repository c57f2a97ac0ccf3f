"""What a sweep needs no more. Results, metrics, curves, `best.pt` and the logs of last attempts always stay."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from artnet.rundir import RunDir

from ..grid import Run
from ..sweep.folder import Sweep
from ..sweep.plan import Found
from ..sweep.state import LIVE, State


@dataclass(frozen=True)
class Litter:
    """Files and folders that can go for one reason, and their size in bytes."""

    what: str
    paths: list[Path]
    size: int


def find(sweep: Sweep, runs: Sequence[Run], found: Mapping[str, Found], whole: bool) -> list[Litter]:
    """What of these runs, and if they are the `whole` of the sweep, what beside its runs can go."""
    folders = {run.config.name: sweep.run(run) for run in runs}
    ended = [folder for name, folder in folders.items() if found[name].state not in LIVE]
    complete = [folder for folder in ended if found[folder.name].state is State.COMPLETE]
    attempts = [sorted(path for path in folder.attempts.glob("[0-9]*") if path.is_dir())[:-1] for folder in ended]
    kinds = {
        "checkpoints to go on from, of complete runs": [
            file for folder in complete if (file := folder.checkpoints / "last.pt").exists()
        ],
        "logs of attempts before the last": [path for paths in attempts for path in paths],
    }
    if whole:
        kinds["files of jobs of complete runs"] = _job_files(sweep, folders, found)
        if not any(now.state in LIVE for now in found.values()):
            kinds["copies of the code of jobs that have ended"] = sorted(sweep.code.glob("[0-9a-f]*"))
        kinds["runs that --force replaced"] = sorted(sweep.replaced.glob("*"))
    return [Litter(what, paths, sum(map(size, paths))) for what, paths in kinds.items() if paths]


def _job_files(sweep: Sweep, folders: Mapping[str, RunDir], found: Mapping[str, Found]) -> list[Path]:
    """What was written for jobs that no run but a complete one needs."""
    recorded = [folders[name].state() for name in folders if found[name].state not in (State.COMPLETE, State.PLANNED)]
    needed = {str(state.get("job")).partition("_")[0] for state in recorded}
    needed |= {str(state.get("job_name")) for state in recorded}
    files = [file for file in sorted((sweep.folder / "slurm").glob("*")) if file.is_file()]
    return [file for file in files if _owner(file) and _owner(file) not in needed]


def _owner(file: Path) -> str:
    """The job or array of jobs that a file is of, by its name: `12_3.log`, `12.log`, `artnet-colours-6f1e.json`."""
    if file.stem.startswith("artnet-"):
        return file.stem
    number = file.stem.partition("_")[0]
    return number if number.isdecimal() else ""


def size(path: Path) -> int:
    """The bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() and not path.is_symlink() else [path]
    return sum(file.lstat().st_size for file in files)


def delete(litter: Sequence[Litter]) -> None:
    """Delete it. What is gone already is no error."""
    for path in (path for kind in litter for path in kind.paths):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def in_words(size: int) -> str:
    """A size as people read it: `1.2 GB`."""
    amount, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
