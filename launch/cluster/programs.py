"""Run SLURM's programs. All calls of them go through `run`."""

import contextlib
import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence

from submitit.helpers import clean_env

from shards.errors import UserError

TIMEOUT_S = 60
PATIENCE_S = 90  # SLURM kills after KillWait, 30 s by default; a training on CPUs may take long for a step
POLL_S = 1.0

# The user's defaults for the output of SLURM's programs, which would break parsing.
_DEFAULTS = ("SQUEUE_", "SACCT_", "SCONTROL_", "SCANCEL_")


class SchedulerError(Exception):
    """One of SLURM's programs did not answer, or refused. States that depend on the answer are unknown, not failed.

    `said` is what the program wrote to stderr if it refused; empty if it did not answer.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


@contextlib.contextmanager
def scrubbed() -> Iterator[None]:
    """Remove the variables that a surrounding job, torchrun or the user has set for SLURM's programs."""
    where = os.environ.get("SLURM_CONF")
    defaults = [name for name in os.environ if name.startswith(_DEFAULTS)]
    with clean_env(extra_names=defaults):
        if where is not None:
            os.environ["SLURM_CONF"] = where
        try:
            yield
        finally:
            os.environ.pop("SLURM_CONF", None)


def run(*command: str) -> str:
    """The output of one of SLURM's programs. Raises `SchedulerError` if it fails or takes over a minute."""
    with scrubbed():
        environment = {**os.environ, "SLURM_BITSTR_LEN": "0"}  # else squeue and sacct shorten long lists of elements
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, env=environment, errors="replace"
        )
    except subprocess.CalledProcessError as error:
        words = " ".join((error.stderr or error.stdout).split()) or f"ended with exit code {error.returncode}"
        raise SchedulerError(f"{command[0]}: {words}", error.stderr) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchedulerError(f"{command[0]}: {error}") from error
    return answer.stdout


def max_array_size() -> int:
    """One more than the highest index of an array that the cluster takes; 0 if it takes no arrays.

    Raises `SchedulerError`.
    """
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", run("scontrol", "show", "config"), re.MULTILINE)
    return int(match[1]) if match else 1001  # SLURM's default


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; those that have ended meanwhile are no error. Raises `UserError` if SLURM refuses."""
    try:
        run("scancel", *arrays(jobs))
    except SchedulerError as error:
        trouble = [line for line in error.said.splitlines() if "Invalid job id" not in line]
        if trouble or not error.said:
            why = " ".join(trouble[0].split()) if trouble else error
            raise UserError(f"SLURM has not cancelled all of it ({why}); try again when it answers") from None


def wait_for(jobs: Sequence[str]) -> None:
    """Wait until the jobs have left the queue. Raises `UserError` if they do not within `PATIENCE_S`."""
    until, waited = time.monotonic() + PATIENCE_S, set(jobs)
    while waited:
        try:
            waited &= set(run("squeue", "--noheader", "--array", "--me", "--format=%i").split())
        except SchedulerError as error:
            raise UserError(
                f"SLURM does not say whether the jobs have ended ({error}); try again when it answers"
            ) from None
        if waited and time.monotonic() > until:
            raise UserError(f"SLURM has not ended {', '.join(sorted(waited)[:5])} yet; run this again in a while")
        if waited:
            time.sleep(POLL_S)


def arrays(jobs: Sequence[str]) -> list[str]:
    """The jobs in SLURM's compact form: `["7_[0-1,4]", "9"]` for `["7_0", "7_1", "7_4", "9"]`."""
    elements: dict[str, list[int]] = {}
    single = []
    for job in dict.fromkeys(jobs):
        parent, underscore, element = job.partition("_")
        if underscore:
            elements.setdefault(parent, []).append(int(element))
        else:
            single.append(job)
    return [f"{parent}_[{','.join(_ranges(sorted(numbers)))}]" for parent, numbers in elements.items()] + single


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        run_of = [number for _, number in group]
        yield f"{run_of[0]}-{run_of[-1]}" if len(run_of) > 1 else str(run_of[0])
