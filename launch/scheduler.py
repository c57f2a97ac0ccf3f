"""Asking SLURM about jobs: one squeue and one sacct for any number of them."""

import contextlib
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


def job_named(name: str) -> str | None:
    """The id of this user's job, or of the whole array, with this name. Raises `SchedulerSilentError`."""
    answers = _ask(["squeue", "--noheader", "--me", f"--name={name}", "--format=%i"]).split()
    if not answers:
        # Without accounting, a job that has ended cannot be found: then it is as if there had been none.
        with contextlib.suppress(SchedulerSilentError):
            columns = ["--noheader", "--parsable2", "--allocations", "--starttime=now-7days", "--format=JobID"]
            answers = _ask(["sacct", *columns, f"--name={name}"]).split()
    return answers[0].partition("_")[0] if answers else None


def _ask(command: list[str]) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
    except subprocess.CalledProcessError as error:
        raise SchedulerSilentError(f"{command[0]}: {' '.join(error.stderr.split())}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SchedulerSilentError(f"{command[0]}: {error}") from error
    return answer.stdout
