"""A search as one job of SLURM: it is checked here, submitted, and runs with Ray on the nodes of the job."""

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from artnet.config.suggest import unknown_key
from artnet.provenance import now
from shards.errors import UserError

from ..cluster import preflight, snapshot
from ..cluster.executor import SlurmArrayExecutor
from ..cluster.job_array import Array, check_no_links
from ..cluster.resources import Request, Resources, SlurmBlock
from ..cluster.submit import Refused, confirmed, signal_s
from ..console import say
from ..grid import Grid, Run
from ..sweep.backend import Launch
from ..sweep.folder import note_state
from ..sweep.plan import Action
from ..sweep.state import State
from . import ray_job
from .ray_job import RayJob
from .tuner import SearchBackend

END_S = 60  # between the end of a search and that of srun, at least
NUMBERS = ("nodes", "gpus_per_node", "cpus_per_task", "requeue")
KEYS = (
    *("nodes", "partition", "account", "qos", "time", "gpus_per_node", "gpu_type", "cpus_per_task", "mem"),
    *("mem_per_gpu", "constraint", "exclude", "reservation", "requeue"),
)


def read(given: Sequence[str]) -> dict[str, Any]:
    """The keys of `--slurm KEY=VALUE,KEY=VALUE`, over the grid's `slurm:` block. Raises `UserError`."""
    found: dict[str, Any] = {}
    for text in (part for entry in given for part in re.split(r",(?=\w+=)", entry)):  # values may have commas
        key, is_set, value = (part.strip() for part in text.partition("="))
        if not is_set or not value:
            raise UserError(f"--slurm {text}: write KEY=VALUE, such as nodes=4")
        if key not in KEYS:
            raise UserError(f"--slurm {text}: {unknown_key(key, KEYS)}; others go into the grid's slurm: block")
        if key in NUMBERS and not value.isdecimal():
            raise UserError(f"--slurm {text}: {key} is a whole number")
        found[key] = int(value) if key in NUMBERS else value
    return found


def ends_srun(folder: Path) -> list[str]:
    """Lines of the job's script that end srun after the search: for the task of a lost node it would wait for ever."""
    file = f"{shlex.quote(str(folder.absolute()))}/$SLURM_JOB_ID.json"
    ends = f"sleep {END_S}; grep -qs '\"is_over\": true' {file} && sleep {END_S} && kill $$"
    # $$ becomes srun.
    return [f"rm -f {file}", f"(while kill -0 $$ 2>/dev/null; do {ends}; done) &"]


class NodeRequest(Request):
    """The resources of a search's job: one task on each node, with what the ranks of a run would have together."""

    def of(self, run: Run) -> Resources:
        """What the job asks for, whichever run it trains."""
        asked = super().of(run)
        cpus = asked.cpus_per_node if asked.cpus_per_node > 1 else asked.cpus_per_task
        return asked.model_copy(update={"tasks_per_node": 1, "cpus_per_task": cpus})

    def _where(self, matching: tuple[int, ...], key: str) -> str:
        return f"--slurm {key}" if key in self._given else super()._where(matching, key)


class SubmittedSearch(SearchBackend):
    """Submits a search as one job, whose nodes Ray uses together."""

    is_scheduled = True
    elsewhere = True
    _has = "a node of the job has"

    def __init__(
        self, slurm: Mapping[str, Any], overrides: Mapping[str, int | None] | None = None, promote: Sequence[str] = ()
    ) -> None:
        """`slurm` are keys over the grid's `slurm:` block."""
        super().__init__(overrides, promote=promote)
        self._slurm = slurm
        self._number = ""

    def configure(self, grid: Grid, everything: Sequence[Run], sets: Sequence[str]) -> None:
        """Read the `slurm:` block too. Raises `UserError` for what is wrong in it."""
        # One job trains all runs: what the block says of some of them is of no use.
        whole = replace(grid, slurm={key: value for key, value in grid.slurm.items() if key != "overrides"})
        self._slurm_block = whole.read_block(SlurmBlock, "slurm", whole.slurm, self._slurm)
        self._request = NodeRequest(whole, self._slurm_block, self._slurm)
        self._asked = self._request.of(everything[0])
        super().configure(grid, everything, sets)

    def _size(self) -> tuple[int, int, int]:
        return self._asked.cpus_per_node, self._asked.gpus_per_node, self._asked.nodes

    def _place(self) -> str:
        return f"as one job of SLURM ({self._asked.in_words})"

    def check(self, launch: Launch, dry_run: bool) -> None:
        """Check the job too, and take the snapshot of the code. Raises `UserError`."""
        if launch.more:
            raise UserError(
                f"--limit leaves room for {launch.more} configurations that are not chosen yet, and a job that is "
                "requeued would choose as many again; give --trials"
            )
        super().check(launch, dry_run)
        if not shutil.which("sbatch"):
            no_slurm = f"no sbatch on this machine; without SLURM use: python launch/tune.py --grid {launch.grid.file}"
            if not dry_run:
                raise UserError(no_slurm)
            return say(f"note: {no_slurm}")
        runs = [decision.run for decision in launch.decisions] or launch.everything[:1]
        new = [one.run for one in launch.decisions if one.action in (Action.START, Action.FROM_SCRATCH)]
        found = preflight.check(self._request, runs, new, launch.sweep.folder)
        for warning in found.warnings:
            say(f"warning: {warning}")
        if found.problems:
            raise UserError("\nerror: ".join(found.problems))
        if not dry_run:
            self._refuse_second(launch.sweep)  # again, as the lock of the sweep is held now
            self._code = snapshot.take(launch.sweep.code, launch.sweep.folder.parent)
        return None

    def start(self, launch: Launch) -> bool:
        """Submit the search, unless nothing is left of it. Raises `UserError` with SLURM's message if it refuses."""
        wanted = self._wanted(launch)
        if not wanted and (launch.more == 0 or not self._study.has_more(self._study.history())):
            return True
        names = [folder.name for folder in wanted] if launch.more == 0 else []
        check_no_links(launch.sweep.folder, "ray")
        job = RayJob(
            name=Array.new_name(launch.sweep.folder),
            submitted=now(),
            signal_s=signal_s(self._asked),
            requeue=self._slurm_block.requeue,
        )
        job.write(launch.sweep)  # before sbatch: if this process dies, the job is found by its name
        before = [folder.state() for folder in wanted]
        for folder in wanted:
            note_state(folder, State.SUBMITTING, launcher="tune", submitted=job.submitted)
        try:
            with confirmed():
                number = self._submit(launch, job, names)
        except Refused as error:
            for folder, state in zip(wanted, before, strict=True):
                state.write(folder.state_file)
            job.ended = f"refused: {error}"
            job.write(launch.sweep)
            raise UserError(f"SLURM refused the job: {error}") from None
        for folder in wanted:
            if folder.state().state == State.SUBMITTING:  # else the job has started it already
                note_state(folder, State.PENDING, f"job {number}")
        self._number = number
        return True

    def _submit(self, launch: Launch, job: RayJob, names: Sequence[str]) -> str:
        place = ray_job.folder(launch.sweep)
        executor = SlurmArrayExecutor(place)
        executor.wrapper = self._asked.wrapper
        wanted = self._asked.parameters()
        # A node that is lost does not end the job: Ray starts its trials elsewhere.
        more = {**wanted.get("additional_parameters", {}), "no_kill": True}
        if launch.after:  # SLURM would let the job wait for ever where one of these ends badly
            wanted["dependency"] = f"afterok:{':'.join(launch.after)}"
            more["kill_on_invalid_dep"] = "yes"
        wanted["additional_parameters"] = more
        wanted["srun_args"] = ["--no-kill", *wanted.get("srun_args", [])]
        wanted["setup"] = [*wanted.get("setup", []), *ends_srun(place)]
        executor.update_parameters(job_name=job.name, signal_delay_s=job.signal_s, **wanted)
        arguments = [
            *("--grid", str(launch.grid.file.absolute())),
            *("--runs", str(launch.sweep.folder.parent.absolute())),
            *(word for text in self._sets for word in ("--set", text)),
            *(word for name in names for word in ("--id", name)),
            *(f"--{key.replace('_', '-')}={value}" for key, value in self._overrides.items() if value is not None),
        ]
        program = ("launch.search.ray_node", str(launch.sweep.folder.absolute()), job.name, *arguments)
        return executor.submit_module(place / "search.sh", self._code, *program)

    def conclude(self, launch: Launch, console: Console) -> int:
        """Print the job, its log, and how its dashboard is reached."""
        if not self._number:
            return super().conclude(launch, console)
        place = ray_job.folder(launch.sweep)
        for line in (
            f"submitted the search as job {self._number}; its log: {place / f'{self._number}.log'}",
            f"Ray dashboard: once the job runs, --status prints the line `ssh -L PORT:127.0.0.1:PORT NODE`; "
            f"its token: in {place / f'{self._number}.json'}",
        ):
            console.print(line, highlight=False, soft_wrap=True)
        return 0
