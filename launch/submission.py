"""Jobs of a sweep in SLURM: finding those that are there, submitting those that are missing."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import submitit
from submitit.core.utils import FailedJobError

from artnet.rundir import RunDir
from shards.errors import UserError

from . import plan, rundir, scheduler
from .grid import Run
from .job import TrainJob
from .resources import Resources, SlurmBlock
from .states import LIVE, State, from_slurm

SIGNAL_BEFORE_S = 120  # between the signal to stop and the end of the time limit


def find(sweep: rundir.Sweep, runs: Sequence[Run]) -> tuple[dict[str, plan.Found], str]:
    """How each run is found: by its folder if that says it all, by asking SLURM if a job is or was there.

    Returns the states by the runs' names, and what SLURM had to complain about, if anything.
    """
    found = {}
    asked: dict[str, str] = {}
    lost: dict[str, dict[str, Any]] = {}
    trouble = ""
    for run in runs:
        name, folder = run.config.name, sweep.run(run)
        recorded = folder.state()
        is_job = recorded.get("launcher") == "slurm" and recorded.get("state") in LIVE | {State.INTERRUPTED}
        if folder.result(run.config.signature) or not is_job:
            found[name] = rundir.find_run(folder, run.config.signature)
        elif recorded.get("job"):
            asked[name] = str(recorded["job"])
        else:
            lost[name] = recorded
    try:
        for name, recorded in lost.items():  # a launcher died between submitting the job and noting its id
            job = scheduler.job_named(str(recorded.get("job_name")))
            if job is None:
                found[name] = plan.Found(State.PLANNED)
            else:
                asked[name] = f"{job}_{recorded['position']}" if recorded["of"] > 1 else job
                rundir.note_state(RunDir(sweep.folder / name), State.PENDING, job=asked[name])
        words = scheduler.job_states(list(asked.values()))
        for name, job in asked.items():
            if job in words:
                found[name] = plan.Found(from_slurm(words[job]), f"job {job}")
            else:  # it has left the queue, and there is no accounting: the run itself knows how it ended
                outcome = rundir.last_outcome(RunDir(sweep.folder / name), 0)
                failed = outcome.startswith("failed")
                found[name] = plan.Found(State.FAILED if failed else State.INTERRUPTED, outcome or f"job {job} is gone")
    except scheduler.SchedulerSilentError as error:
        trouble = str(error)
        for name in asked.keys() | lost.keys():
            found.setdefault(name, plan.Found(State.UNKNOWN, "SLURM does not answer"))
    return found, trouble


def submit(
    sweep: rundir.Sweep,
    block: SlurmBlock,
    wanted: Mapping[str, Resources],
    decisions: Sequence[plan.Decision],
) -> int:
    """Submit what the plan says, one array per kind of resources. Returns the number of jobs.

    Raises `UserError` with SLURM's words if it refuses.
    """
    chosen = [decision for decision in decisions if decision.action is not plan.Action.LEAVE]
    groups: dict[Resources, list[plan.Decision]] = {}
    for decision in chosen:
        groups.setdefault(wanted[decision.run.config.name], []).append(decision)
    for asked, group in groups.items():
        folders = [sweep.run(decision.run) for decision in group]
        job_name = f"artnet-{sweep.folder.name}-{secrets.token_hex(4)}"
        for position, folder in enumerate(folders):
            place: dict[str, Any] = {"job": None, "job_name": job_name, "position": position, "of": len(folders)}
            rundir.note_state(folder, State.SUBMITTING, launcher="slurm", **place)
        executor = submitit.SlurmExecutor(sweep.folder / "slurm", max_num_timeout=block.requeue)
        executor.update_parameters(
            job_name=job_name,
            array_parallelism=block.max_parallel,
            signal_delay_s=min(SIGNAL_BEFORE_S, asked.time * 30),
            stderr_to_stdout=True,
            **asked.parameters(),
        )
        jobs = [TrainJob(str(folder.path.resolve()), rundir.next_attempt(folder)) for folder in folders]
        try:
            submitted = executor.submit_array(jobs)
        except FailedJobError as error:
            for folder, decision in zip(folders, group, strict=True):
                rundir.note_state(folder, decision.state, decision.reason)
            raise UserError(f"SLURM refused the jobs: {' '.join(str(error).split())}") from None
        for folder, job, what in zip(folders, submitted, jobs, strict=True):
            rundir.note_state(folder, State.PENDING, f"job {job.job_id}", job=job.job_id, attempt=what.attempt)
    return len(chosen)
