"""Submit the missing jobs of a sweep."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import submitit
from submitit.core.utils import FailedSubmissionError

import artnet
from artnet.provenance import now
from shards.errors import UserError

from ..console import say
from ..sweep.attempt import next_attempt
from ..sweep.folder import SweepDir, note_state
from ..sweep.plan import Action, Decision, to_start
from ..sweep.state import LIVE, State
from . import local, queue, task
from .executor import SlurmArrayExecutor
from .job_array import Array, check_no_links
from .programs import SchedulerError, max_array_size
from .resources import Resources, SlurmBlock

SIGNAL_BEFORE_S = 120  # between the signal to stop and the end of the time limit
THREADS = 16  # for writing small files, which is bound by the disk
# Messages of sbatch when it does not know whether the controller has the job.
UNDECIDED = ("timed out", "Communication connection failure", "Zero Bytes were transmitted")

REPORT_MINUTES = 10
# What the report's job shares with the runs. Some clusters refuse jobs without a comment or a wckey.
REPORT_KEYS = ("partition", "account", "qos", "setup", "srun_args")
REPORT_OPTIONS = ("comment", "wckey")

Item = TypeVar("Item")


def submit(
    sweep: SweepDir,
    block: SlurmBlock,
    wanted: Mapping[str, Resources],
    decisions: Sequence[Decision],
    code: Path | None = None,
    cluster: str = "slurm",
    after: Sequence[str] = (),
) -> int:
    """Submit the runs that the plan starts, in arrays of equal resources, and a job that writes the page at the end.

    The jobs run the `code` in this folder, by default the code of this process. `cluster` may also be `local`,
    processes on this machine, or `debug`, this process. They start when the jobs `after` have ended well, and are
    cancelled if one of these ends badly. Returns the number of jobs. Raises `UserError` with SLURM's message if it
    refuses.
    """
    code = code or Path(artnet.__file__).parents[1]
    chosen = to_start(decisions)
    if not chosen:
        return 0
    check_no_links(sweep.folder)
    groups: dict[Resources, list[Decision]] = {}
    for decision in chosen:
        groups.setdefault(wanted[decision.run.config.name], []).append(decision)
    largest = _largest_array() if cluster == "slurm" else 0
    live = sum(
        decision.state in LIVE and decision.found.engine == "slurm"
        for decision in decisions
        if decision.action is Action.LEAVE
    )
    numbers: list[str] = []
    try:
        for resources, group in groups.items():
            if cluster != "slurm":
                _start_here(sweep, block, resources, group, code, cluster)
                continue
            for chunk in split(group, largest):
                parallel = share(block.max_parallel - live, len(chunk), len(chosen))
                numbers.append(_submit_array(sweep, block, resources, chunk, parallel, largest, code, after))
    finally:
        if numbers:  # also if a later array was refused
            _submit_report(sweep, next(iter(groups)), numbers, code)
        queue.forget(sweep.folder / "slurm")
    return len(chosen)


def share(room: int, part: int, whole: int) -> int:
    """The share of an array of `part` of the `whole` runs in the `room` jobs that may run at a time; at least one.

    SLURM limits the running jobs of each array separately.
    """
    return max(1, room * part // whole)


def split(items: Sequence[Item], largest: int) -> list[Sequence[Item]]:
    """Split the items into the fewest parts of nearly equal size, none longer than `largest`."""
    parts = -(-len(items) // max(1, largest))
    bounds = [len(items) * part // parts for part in range(parts + 1)]
    return [items[first:last] for first, last in itertools.pairwise(bounds)]


def _make_array(
    sweep: SweepDir, block: SlurmBlock, resources: Resources, group: Sequence[Decision], cluster: str
) -> tuple[Array, Path]:
    """Write an array's file and mark its runs as submitting."""
    folders = [sweep.run(decision.run) for decision in group]
    array = Array(
        name=Array.new_name(sweep.folder),
        submitted=now(),
        runs=[folder.name for folder in folders],
        attempts=[next_attempt(folder) for folder in folders],
        minutes=resources.time,
        signal_s=signal_s(resources),
        requeue=block.requeue,
    )

    def mark(place: int) -> None:
        where: dict[str, Any] = {"job": None, "job_name": array.name, "position": place, "cluster": cluster}
        note_state(folders[place], State.SUBMITTING, launcher="slurm", submitted=array.submitted, **where)

    file = array.write(sweep.folder)
    _in_threads(mark, range(len(group)))
    return array, file


def _submit_array(
    sweep: SweepDir,
    block: SlurmBlock,
    resources: Resources,
    group: Sequence[Decision],
    parallel: int,
    largest: int,
    code: Path,
    after: Sequence[str],
) -> str:
    array, file = _make_array(sweep, block, resources, group, "slurm")

    def unmark(place: int) -> None:
        folder = sweep.run(group[place].run)
        if folder.state().state == State.SUBMITTING:
            note_state(folder, group[place].state, group[place].found.reason)

    try:
        number = _sbatch(array, file, resources, parallel, bool(largest), code, after)
    except Refused as error:
        _in_threads(unmark, range(len(group)))
        file.unlink()
        raise UserError(f"SLURM refused the jobs for {len(group)} of the runs: {error}") from None
    _note_jobs(sweep, group, [f"{number}_{place}" if largest else number for place in range(len(group))])
    return number


class Refused(Exception):
    """SLURM has refused jobs; the message is its own."""


def _sbatch(
    array: Array, file: Path, resources: Resources, parallel: int, is_array: bool, code: Path, after: Sequence[str]
) -> str:
    """Submit the jobs of an array and return their number. Raises `Refused`, and `UserError` if that is not known."""
    executor = SlurmArrayExecutor(file.parent)
    executor.wrapper = resources.wrapper
    executor.restarts = array.requeue if array.workers else 0
    wanted = resources.parameters() | _dependency(resources, after)
    executor.update_parameters(job_name=array.name, array_parallelism=parallel, signal_delay_s=array.signal_s, **wanted)
    with confirmed():
        return executor.submit_jobs(file, array.program, array.count if is_array else 0, code)


@contextlib.contextmanager
def confirmed() -> Iterator[None]:
    """Around sbatch: raises `Refused` if SLURM has refused, `UserError` if it is unknown whether it has the jobs."""
    try:
        yield
    except (SchedulerError, FailedSubmissionError) as error:
        said = " ".join((error.said if isinstance(error, SchedulerError) else str(error)).split()) or str(error)
        if isinstance(error, FailedSubmissionError) or any(words in said for words in UNDECIDED):
            raise UserError(
                f"SLURM did not confirm the jobs ({said}); run this again to check, nothing is submitted twice"
            ) from None
        raise Refused(said) from None


def submit_workers(
    sweep: SweepDir,
    block: SlurmBlock,
    resources: Resources,
    count: int,
    code: Path | None = None,
    cluster: str = "slurm",
    after: Sequence[str] = (),
) -> int:
    """Submit so many workers of a search as one array, and a job that writes the page at the end.

    Returns how many: at most as many as SLURM takes in an array. The rest is as in `submit`.
    """
    code = code or Path(artnet.__file__).parents[1]
    check_no_links(sweep.folder)
    largest = _largest_array() if cluster == "slurm" else count
    count = min(count, max(1, largest))
    array = Array(
        name=Array.new_name(sweep.folder), submitted=now(), runs=[], attempts=[], minutes=resources.time,
        signal_s=signal_s(resources), requeue=block.requeue, workers=count,
    )  # fmt: skip
    file = array.write(sweep.folder)
    if cluster != "slurm":
        array.process = str(local.start(file, code, resources, count))
        array.write(sweep.folder)
        return count
    try:
        number = _sbatch(array, file, resources, count, bool(largest), code, after)
    except Refused as error:
        file.unlink()
        raise UserError(f"SLURM refused the workers of the search: {error}") from None
    finally:
        queue.forget(sweep.folder / "slurm")
    _submit_report(sweep, resources, [number], code)
    return count


def _largest_array() -> int:
    try:
        return max_array_size()
    except SchedulerError as error:
        raise UserError(f"SLURM does not answer ({error}); nothing was submitted, try again when it does") from None


def signal_s(resources: Resources) -> int:
    """The seconds between the signal to stop and the time limit."""
    return min(SIGNAL_BEFORE_S, resources.time * 30)


def _dependency(resources: Resources, after: Sequence[str]) -> dict[str, Any]:
    """The parameters of jobs that wait for others. SLURM would let them wait for ever where these end badly."""
    if not after:
        return {}
    more = resources.parameters().get("additional_parameters", {})
    return {
        "dependency": f"afterok:{':'.join(after)}",
        "additional_parameters": {**more, "kill_on_invalid_dep": "yes"},
    }


def _start_here(
    sweep: SweepDir,
    block: SlurmBlock,
    resources: Resources,
    group: Sequence[Decision],
    code: Path,
    cluster: str,
) -> None:
    _, file = _make_array(sweep, block, resources, group, cluster)
    if cluster == "debug":
        executor = submitit.DebugExecutor(sweep.folder / "slurm")
        for place in range(len(group)):
            executor.submit(task.main, [str(file), str(place)]).result()
        return
    process = local.start(file, code, resources, block.max_parallel)
    _note_jobs(sweep, group, [str(process)] * len(group))


def _note_jobs(sweep: SweepDir, group: Sequence[Decision], numbers: Sequence[str]) -> None:
    def note(place: int) -> None:
        folder = sweep.run(group[place].run)
        if folder.state().state == State.SUBMITTING:  # else the job has started already
            note_state(folder, State.PENDING, f"job {numbers[place]}", job=numbers[place])

    _in_threads(note, range(len(group)))


def _submit_report(sweep: SweepDir, resources: Resources, numbers: Sequence[str], code: Path) -> None:
    """Submit the job that writes the page when all others have ended, with any result. It is no error if refused."""
    executor = SlurmArrayExecutor(sweep.folder / "slurm")
    executor.wrapper = resources.wrapper
    asked = resources.parameters()
    wanted = {key: value for key, value in asked.items() if key in REPORT_KEYS}
    options = {key: value for key, value in asked.get("additional_parameters", {}).items() if key in REPORT_OPTIONS}
    executor.update_parameters(
        job_name=f"artnet-{sweep.folder.name}-report", time=REPORT_MINUTES, signal_delay_s=0,
        dependency=f"afterany:{':'.join(numbers)}", additional_parameters=options, **wanted,
    )  # fmt: skip
    try:
        executor.submit_report(sweep.folder, code)
    except (SchedulerError, FailedSubmissionError) as error:
        say(f"warning: SLURM refused the job that would write the page ({' '.join(str(error).split())})")


def _in_threads(work: Callable[[int], None], items: Iterable[int]) -> None:
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(work, items):
            pass
