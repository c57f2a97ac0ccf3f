"""Asking SLURM about jobs: one squeue and one sacct for any number of them."""

import subprocess
from collections.abc import Sequence

TIMEOUT_S = 30


class SchedulerSilentError(Exception):
    """SLURM did not answer. What it would have said is unknown: not good, not bad."""


def job_states(ids: Sequence[str]) -> dict[str, str]:
    """SLURM's word for each job (`123` or `123_4`) that it knows, the queue's before the accounting's.

    Raises `SchedulerSilentError` if the queue cannot be asked; without accounting, jobs that have left the queue
    are absent from the answer.
    """
    if not ids:
        return {}
    queue = _ask(["squeue", "--noheader", "--array", "--me", "--format=%i|%T"])
    known = dict(line.split("|", 1) for line in queue.splitlines() if "|" in line)
    missing = [number for number in ids if number not in known]
    if missing:
        try:
            parents = ",".join(sorted({number.partition("_")[0] for number in missing}))
            history = _ask(
                [
                    "sacct",
                    "--noheader",
                    "--parsable2",
                    "--allocations",
                    f"--jobs={parents}",
                    "--format=JobID,State",
                ]
            )
        except SchedulerSilentError:
            history = ""
        known = {**dict(line.split("|", 1) for line in history.splitlines() if "|" in line), **known}
    return {number: known[number] for number in ids if number in known}


def jobs_named(name: str) -> list[str]:
    """Ids of the jobs of this user with this name that are in the queue. Raises `SchedulerSilentError`."""
    return _ask(["squeue", "--noheader", "--array", "--me", f"--name={name}", "--format=%i"]).split()


def _ask(command: list[str]) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        raise SchedulerSilentError(f"{command[0]}: {' '.join(error.stderr.split())}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchedulerSilentError(f"{command[0]}: {error}") from error
    return answer.stdout
