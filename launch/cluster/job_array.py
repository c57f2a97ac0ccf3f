"""A job array: its runs by place, or the workers of a search, in a file that is written before it is submitted.

Jobs find their runs in this file alone, so that they need nothing from a launcher that dies after sbatch.
"""

import contextlib
import json
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from artnet.formats import FORMAT, check_format
from artnet.rundir import RunDir, read_json, write_json
from shards.errors import UserError

from ..sweep.state import Found, State


@dataclass
class Array:
    """`SWEEP/slurm/NAME.json`. The name contains a random token, which identifies the jobs in SLURM.

    `attempts` are the numbers of the runs' next attempts, `minutes` the time limit, `signal_s` the seconds between
    the signal to stop and that limit, `requeue` how often a job is requeued after a time-out or a node failure.

    An array of a search has so many `workers`, which find their runs by themselves, and no runs. Without SLURM,
    `process` is the id of the process that starts its jobs.
    """

    name: str
    submitted: str
    runs: list[str]
    attempts: list[int]
    minutes: int
    signal_s: int
    requeue: int
    workers: int = 0
    process: str = ""

    @property
    def count(self) -> int:
        """The number of its jobs."""
        return self.workers or len(self.runs)

    @property
    def program(self) -> str:
        """The module that each task of a job runs."""
        return "launch.search.worker" if self.workers else "launch.cluster.task"

    @staticmethod
    def new_name(sweep: Path) -> str:
        """A unique name for jobs of a sweep."""
        return f"{_prefix(sweep)}{secrets.token_hex(4)}"

    @staticmethod
    def is_name(sweep: Path, name: str) -> bool:
        """Whether `new_name` may have given this name to jobs of the sweep. Others are not ours to query or cancel."""
        prefixes = {_prefix(sweep), _prefix(sweep.resolve())}  # the folder may be a link of another name
        return any(re.fullmatch(re.escape(prefix) + "[0-9a-f]{8}", name) for prefix in prefixes)

    @staticmethod
    def file(sweep: Path, name: str) -> Path:
        """The file of the array with this name."""
        return sweep / "slurm" / f"{name}.json"

    def write(self, sweep: Path) -> Path:
        """Write the array's file into the sweep's folder and return its path."""
        file = self.file(sweep, self.name)
        write_json(file, {"format": FORMAT, **asdict(self)})
        return file

    @classmethod
    def of_search(cls, sweep: Path) -> "list[Array]":
        """The arrays of workers in a sweep's folder."""
        found = []
        for file in sorted((sweep / "slurm").glob("*.json")):
            with contextlib.suppress(UserError):
                if cls.is_name(sweep, file.stem) and (array := cls.read(file)).workers:
                    found.append(array)
        return found

    @classmethod
    def read(cls, file: Path) -> "Array":
        """Read an array's file. Raises `UserError` if it is missing or broken."""
        content = read_json(file)
        check_format(file, content)
        with contextlib.suppress(ValidationError, ValueError):
            array = TypeAdapter(cls).validate_json(json.dumps(content), strict=True)
            datetime.fromisoformat(array.submitted)
            if len(array.attempts) == len(array.runs) and all(Path(name).name == name for name in array.runs):
                return array
        raise UserError(f"{file} is missing or broken; submit the grid again")

    def run(self, file: Path, place: int) -> RunDir:
        """The run at a place of this array, which was read from `file`. Raises `UserError` if there is none."""
        if not 0 <= place < len(self.runs):
            raise UserError(f"{file} has no run at place {place}; submit the grid again")
        return RunDir(file.parents[1] / self.runs[place])


def _prefix(sweep: Path) -> str:
    return f"artnet-{re.sub(r'[^A-Za-z0-9_.-]', '_', sweep.name)[:100]}-"


def check_no_links(sweep: Path, name: str = "slurm") -> None:
    """Raise `UserError` if the folder of the jobs' files holds a link or a pipe: SLURM would write its logs through it.

    The folder itself may be a link, such as to another disk.
    """
    for path in sorted((sweep / name).glob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is a link or a pipe, and logs of jobs may be written to it; remove it")


def unneeded_files(
    sweep: Path, folders: Sequence[RunDir], found: Mapping[str, Found], workers: Collection[str] = ()
) -> list[Path]:
    """The files of jobs in a sweep's folder that only complete runs needed.

    `folders` are all its runs, `workers` the ids of the jobs of a search that are alive.
    """
    over = (State.COMPLETE, State.STOPPED_EARLY, State.PLANNED)
    recorded = [folder.state() for folder in folders if found[folder.name].state not in over]
    needed = {job.partition("_")[0] for job in (*workers, *(str(state.job) for state in recorded))}
    needed |= {str(state.job_name) for state in recorded}
    if workers:
        needed |= {array.name for array in Array.of_search(sweep)}
    owners = {file: _owner(sweep, file.name) for file in sorted((sweep / "slurm").glob("*"))}
    return [file for file, owner in owners.items() if owner and owner not in needed]


def _owner(sweep: Path, name: str) -> str:
    """The job or array that a file belongs to, by its name: `12_3.log`, `12.log`, `artnet-colours-6f1e4b02.json`.

    Empty for a name that no job of this sweep gives. The folder of an array's logs has no suffix.
    """
    if match := re.fullmatch(r"([0-9]+)(_[0-9]+)?\.log", name):
        return match[1]
    array = re.sub(r"\.(json|sh|log|workers)$", "", name)
    return array if Array.is_name(sweep, array) else ""
