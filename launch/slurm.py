"""`python launch/slurm.py --grid FILE`: submit a grid to SLURM and return at once.

Start it again to see where the runs are and to submit what is missing; nothing is submitted twice.
"""

import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import submitit
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from rich.console import Console
from submitit.core.utils import FailedJobError

from artnet import report
from artnet.config import canonical, flatten
from artnet.rundir import RunDir
from launch import cli, grid, plan, rundir, scheduler
from launch.job import TrainJob
from launch.states import ENDED_BADLY, LIVE, State, from_slurm
from shards.errors import UserError, command

_TIME = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")
SIGNAL_BEFORE_S = 120  # between the signal to stop and the end of the time limit


def _minutes(value: object) -> int:
    """`"8:00:00"` or `"1-12:00:00"` in minutes."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError('write a time limit as "HOURS:MM:SS" or "DAYS-HH:MM:SS", in quotes')
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return max(1, (days * 24 + hours) * 60 + minutes + (seconds > 0))


class Resources(BaseModel):
    """What a job asks SLURM for. None leaves it to the cluster's default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: Annotated[int, BeforeValidator(_minutes)] = Field("1:00:00", validate_default=True, description="minutes")
    nodes: int = Field(1, ge=1)
    gpus_per_node: int = Field(0, ge=0, description="0: train on CPUs")
    tasks_per_node: int | None = Field(None, ge=1, description="ranks; default: one per GPU, else 1")
    cpus_per_task: int | None = Field(None, ge=1)
    mem: str | None = Field(None, description='of a node, such as "64G"')
    setup: tuple[str, ...] = Field((), description="shell lines at the start of the job, such as `module load cuda`")

    def parameters(self) -> dict[str, Any]:
        """The same in submitit's words."""
        wanted = {
            "time": self.time,
            "nodes": self.nodes,
            "ntasks_per_node": self.tasks_per_node or self.gpus_per_node or 1,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "gpus_per_node": self.gpus_per_node or None,
            "cpus_per_task": self.cpus_per_task,
            "mem": self.mem,
            "setup": list(self.setup) or None,
        }
        return {key: value for key, value in wanted.items() if value is not None}


class SlurmBlock(Resources):
    """The grid's `slurm:` block: resources, how many jobs at a time, and who gets other resources."""

    max_parallel: int = Field(256, ge=1, description="jobs of an array that run at a time")
    requeue: int = Field(3, ge=0, description="how often a job that ran out of time goes on in a new one")
    overrides: tuple[dict[str, Any], ...] = Field((), description="`{when: {KEY: VALUE}, time: ...}`; later ones win")


def resources(block: SlurmBlock, run: grid.Run, where: str) -> Resources:
    """What a run asks for: the block's resources, and over them each override whose `when` it matches.

    Raises `UserError` beginning with `where` for an override that is none.
    """
    config = flatten(run.config)
    values = block.model_dump(include=set(block.model_fields_set) & set(Resources.model_fields))
    values = {**values, "time": _as_text(block.time)}
    for override in block.overrides:
        when = override.get("when")
        if not isinstance(when, Mapping) or not when:
            raise UserError(f"{where}: each of overrides needs `when: {{KEY: VALUE}}`, such as model.recurrence: lstm")
        try:
            if all(canonical(key, value) == config[key] for key, value in when.items()):
                values.update({key: value for key, value in override.items() if key != "when"})
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    try:
        return Resources.model_validate(values)
    except ValueError as error:
        raise UserError(f"{where}: {' '.join(str(error).splitlines()[1:3])}") from None


def _as_text(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02d}:00"


def find(sweep: rundir.Sweep, runs: Sequence[grid.Run]) -> tuple[dict[str, plan.Found], str]:
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
        for folder, job in zip(folders, submitted, strict=True):
            rundir.note_state(folder, State.PENDING, f"job {job.job_id}", job=job.job_id)
    return len(chosen)


def launch(options: cli.Options, overrides: Mapping[str, Any], console: Console) -> int:
    """Submit a grid. Returns the exit code: 0, or 1 if runs ended badly."""
    loaded = grid.load(options.grid)
    block = cli.read_block(SlurmBlock, loaded, "slurm", loaded.slurm, overrides)
    everything = grid.expand(loaded, options.sets)
    expansion = grid.expand(loaded, options.sets, options.only) if options.only else everything
    wanted = {run.config.name: resources(block, run, loaded.where("slurm")) for run in expansion.runs}
    sweep = rundir.Sweep(options.sweep_root / loaded.name)
    no_slurm = f"no sbatch on this machine; without SLURM use: python launch/local.py --grid {options.grid}"
    if options.dry_run:
        found, trouble = find(sweep, expansion.runs)
        decisions = plan.decide(expansion.runs, found, options.retry)
        cli.show_plan(console, loaded, expansion, decisions, dry_run=True)
        if not shutil.which("sbatch"):
            cli.say(f"note: {no_slurm}")
        elif trouble:
            cli.say(f"warning: {trouble}")
        return 0
    if not shutil.which("sbatch"):
        raise UserError(no_slurm)
    cli.check_environment(loaded)
    cli.check_data(sweep, expansion.runs)
    with sweep.locked(wait=False):
        found, trouble = find(sweep, expansion.runs)
        if trouble:
            raise UserError(f"SLURM does not answer ({trouble}); nothing was submitted, try again when it does")
        for run in expansion.runs:
            now = found[run.config.name]
            if now.state is not State.PLANNED:
                rundir.note_state(sweep.run(run), now.state, now.reason)
        decisions = plan.decide(expansion.runs, found, options.retry)
        sweep.commit(loaded, expansion, everything.runs)
        cli.show_plan(console, loaded, expansion, decisions, dry_run=False)
        jobs = submit(sweep, block, wanted, decisions)
        report.write(sweep.folder, console)
    if jobs:
        console.print(f"submitted {jobs} jobs; run this again to see where they are", highlight=False)
    return 1 if any(f.state in ENDED_BADLY for f in found.values()) and not options.retry else 0


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = cli.parser("slurm.py", (__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--partition", metavar="NAME")
    parser.add_argument("--time", metavar="HH:MM:SS", help="time limit of each run")
    parser.add_argument("--nodes", type=int, metavar="N")
    parser.add_argument("--gpus-per-node", type=int, metavar="N", help="one rank each; 0: CPUs")
    parser.add_argument("--max-parallel", type=int, metavar="N", help="jobs at a time")
    args = parser.parse_args(argv)
    own = ("partition", "time", "nodes", "gpus_per_node", "max_parallel")
    return launch(cli.options(args), {key: getattr(args, key) for key in own}, cli.console())


if __name__ == "__main__":
    raise SystemExit(main())
