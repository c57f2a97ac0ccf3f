"""A search as one job of SLURM, with Ray on its nodes: what was submitted, and whether it is alive.

RUNS/SWEEP/ray/
  search.json            the job that was submitted last, and how its starts ended
  12.json                how the Ray of job 12 is reached: see `ray_head.py`
  12.log  search.sh      what the job prints, and its script
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError

from artnet.formats import FORMAT, check_format
from artnet.rundir import RunDir, read_json, write_json
from shards.errors import UserError

from ..cluster import programs, queue
from ..cluster.job_array import Array
from ..cluster.observe import HELD
from ..cluster.queue import QueueEntry, from_slurm
from ..cluster.requeue import Start
from ..sweep.folder import SweepDir
from ..sweep.state import Found, State
from .ray_head import Head


def folder(sweep: SweepDir) -> Path:
    """The folder of the files of a sweep's jobs with Ray."""
    return sweep.folder / "ray"


class RayJob(BaseModel):
    """`search.json`: a job by its unique `name` in SLURM, and its `id` once SLURM has given one.

    `signal_s` are the seconds between the signal to stop and the time limit; the job is requeued `requeue` times after
    a time-out or a node failure. `ended` says how it has ended, empty while that is not recorded.
    """

    format: int = FORMAT
    name: str
    submitted: str
    signal_s: int
    requeue: int
    id: str = ""
    starts: list[Start] = []
    ended: str = ""

    @classmethod
    def read(cls, sweep: SweepDir) -> Self | None:
        """The job that was submitted last; None if there is none. Raises `UserError` if it is of a newer version."""
        file = folder(sweep) / "search.json"
        content = read_json(file)
        check_format(file, content)
        with contextlib.suppress(ValidationError, ValueError):
            job = cls.model_validate(content)
            datetime.fromisoformat(job.submitted)
            if Array.is_name(sweep.folder, job.name):  # others are not ours to query or cancel
                return job
        return None

    def write(self, sweep: SweepDir) -> None:
        """Write the file."""
        write_json(folder(sweep) / "search.json", self.model_dump(mode="json"))


@dataclass(frozen=True)
class Alive:
    """A job that is alive, with SLURM's `entry` of it; or that may be, with what is wrong with SLURM (`trouble`)."""

    job: RayJob
    entry: QueueEntry | None
    trouble: str = ""
    age_s: float = 0.0

    @property
    def id(self) -> str:
        """SLURM's id; the job's name while that is not known."""
        return (self.entry.id if self.entry else self.job.id) or self.job.name

    @property
    def state(self) -> State:
        """Its state."""
        if self.entry is None:
            return State.UNKNOWN
        state = from_slurm(self.entry.word, self.entry.exit_code)
        return State.REQUEUED if state is State.PENDING and self.job.starts else state

    def __str__(self) -> str:
        if self.entry is None:
            return f"job {self.id}, of which SLURM says nothing ({self.trouble})"
        return f"job {self.id} ({self.state}{f' on {self.entry.node}' if self.entry.node else ''})"

    def applied(self, sweep: SweepDir, found: Mapping[str, Found]) -> dict[str, Found]:
        """The states of runs, of which this job goes on with those that seem interrupted by their folders alone."""
        node, left = (self.entry.node, self.entry.left) if self.entry else ("", "")
        changed = {}
        for name, now in found.items():
            if now.state is State.INTERRUPTED:
                state = self.state
                if state is State.RUNNING and RunDir(sweep.folder / name).state().state != State.RUNNING:
                    state = State.PENDING
                now = Found(state, f"{self} of the search")
            is_here = now.state is State.RUNNING
            changed[name] = replace(now, job=self.id, node=now.node or node, left=left) if is_here else now
        return changed

    def lines(self, sweep: SweepDir) -> list[str]:
        """What `--status` says of it."""
        log, file = folder(sweep) / f"{self.id}.log", folder(sweep) / f"{self.id}.json"
        lines = [f"{self} of the search", *([f"its log: {log}"] if log.exists() else [])]
        head = Head.read(file) if self.state is State.RUNNING else None
        if head and head.dashboard:
            lines.append(head.door(file))
        return lines

    def cancel(self) -> None:
        """End the job and wait until it has left the queue. Raises `UserError` if SLURM does not do it."""
        if self.entry is None:
            raise UserError(f"SLURM does not answer ({self.trouble}); nothing was cancelled, try again when it does")
        programs.cancel([self.id])
        programs.wait_for([self.id])


def alive(sweep: SweepDir, fresh: bool = True) -> Alive | None:
    """The job of a search that is alive or may be; None if there is none.

    Unless `fresh`, an answer of SLURM from the last 30 s is accepted.
    """
    job = RayJob.read(sweep)
    if job is None or job.ended:
        return None
    place = (job.name, 0)
    if fresh:
        queue.forget(folder(sweep))
    since = datetime.fromisoformat(job.submitted).astimezone().replace(tzinfo=None)
    answer = queue.ask_again(folder(sweep), {job.name}, [place], since)
    entry = answer.jobs.get(place)
    if entry is None:
        is_known = answer.queue_known and answer.history_known
        return None if is_known else Alive(job, None, answer.trouble)
    if entry.has_ended or entry.reason == HELD:
        return None
    return Alive(job, entry, answer.trouble, answer.age_s)


def unneeded_files(sweep: SweepDir) -> list[Path]:
    """The files of jobs that have ended but for the last log; none while a job is alive or may be."""
    if alive(sweep):
        return []
    named = [file for file in folder(sweep).glob("*") if re.fullmatch(r"[0-9]+\.(json|log)|search\.sh", file.name)]
    logs = sorted((file for file in named if file.suffix == ".log"), key=lambda file: int(file.stem))
    return sorted({*named} - {*logs[-1:]})
