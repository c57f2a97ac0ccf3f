"""submitit's executors with jobs that read an array's file instead of a pickle."""

import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit

from shards.files import atomic_write

from . import snapshot, verified
from .programs import run


def module_command(code: Path, module: str, *arguments: str) -> list[str]:
    """The command that runs a module of `code`, which is on PYTHONPATH, with this interpreter in every folder.

    A snapshot is checked before.
    """
    if snapshot.is_one(code):
        text = Path(verified.__file__).read_text(encoding="utf-8")
        return [sys.executable, "-I", "-c", text, str(code.absolute()), module, *arguments]
    return [sys.executable, "-u", "-P", "-m", module, *arguments]


def task_command(array_file: Path, code: Path, program: str = "launch.cluster.task") -> str:
    """The shell command of a job."""
    return shlex.join(module_command(code, program, str(array_file.absolute())))


class SlurmArrayExecutor(submitit.SlurmExecutor):
    """Submits the runs of an array's file as one SLURM job array.

    Options are passed to sbatch as arguments, which need no quoting and take precedence over SBATCH_* variables. The
    whole environment is exported to the job, as by default in sbatch: the job needs the variables of `env_from` and
    those set by `module load` and virtual environments. They are stored by SLURM only, never in a file of the sweep.

    The `wrapper` is a command that runs the program of each rank, such as a container's. Tasks that are killed are
    started again within their job, up to `restarts` times.
    """

    wrapper: Sequence[str] = ()
    restarts = 0

    def submit_jobs(self, array_file: Path, program: str, count: int, code: Path) -> str:
        """Submit `count` jobs (0: a single job without an array) that run `program`, a module, and return the id.

        Raises `SchedulerError` with SLURM's message if it refuses, submitit's `FailedSubmissionError` if its answer
        contains no id.
        """
        return self._submit(array_file.with_suffix(".sh"), task_command(array_file, code, program), count, code)

    def submit_report(self, sweep: Path, code: Path) -> str:
        """Submit the last job of a launch, `launch/cluster/finish.py`, and return its id. Raises like `submit_jobs`."""
        return self.submit_module(self.folder / "report.sh", code, "launch.cluster.finish", str(sweep.absolute()))

    def submit_module(self, script: Path, code: Path, module: str, *arguments: str) -> str:
        """Submit a job that runs a module, and return its id. Raises like `submit_jobs`."""
        return self._submit(script, shlex.join(module_command(code, module, *arguments)), 0, code)

    def _submit(self, script: Path, command: str, count: int, code: Path) -> str:
        self._count, self._code = count, code
        self.folder.mkdir(parents=True, exist_ok=True)
        text = self._make_submission_file_text(command, "")
        atomic_write(script, os.fsencode(text))  # a link in its place is replaced, not followed
        return self._get_job_id_from_submission_command(run(*self._make_submission_command(script)))

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        code = shlex.quote(str(self._code.absolute()))
        options = ["--unbuffered", "--label", "--kill-on-bad-exit=1", *self.parameters.get("srun_args", ())]
        return "\n".join(
            [
                "#!/bin/bash",
                *self.parameters.get("setup", []),
                # After the user's setup lines: modules may set PYTHONPATH.
                f'export PYTHONPATH={code}"${{PYTHONPATH:+:$PYTHONPATH}}" SUBMITIT_EXECUTOR=slurm',
                "export TERM=dumb",  # --unbuffered gives tasks a terminal, but their output goes to a file
                # Since 22.05, srun does not inherit --cpus-per-task from sbatch.
                '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK',
                *self._start(f"{shlex.join(['srun', *options, *self.wrapper])} {command}"),
                "",
            ]
        )

    def _start(self, srun: str) -> list[str]:
        """The lines that start the tasks. srun reports the signal of a killed one, or 128 more, as its exit code."""
        if not self.restarts:
            return [f"exec {srun}"]
        return [
            f"for start in {{0..{self.restarts}}}; do",
            f"    ARTNET_JOB_AGE=$SECONDS {srun}",
            "    code=$?",
            f"    case $code in {signal.SIGKILL:d}|{128 + signal.SIGKILL}) ;; *) break;; esac",
            "done",
            "exit $code",
        ]

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        given = {**self.parameters, **self.parameters.get("additional_parameters", {})}
        own = ("setup", "srun_args", "additional_parameters", "signal_delay_s", "array_parallelism")
        options: dict[str, Any] = {key: value for key, value in given.items() if key not in own}
        folder = str(self.folder).replace("%", "%%")  # % is special in file name patterns
        options |= {
            "signal": f"USR2@{self.parameters['signal_delay_s']}",  # to the tasks, not to the shell around them
            "requeue": True,
            "export": "ALL",
            "open_mode": "append",
            "output": f"{folder}/{'%A_%a' if self._count else '%j'}.log",
        }
        if self._count:
            options["array"] = f"0-{self._count - 1}%{min(self._count, self.parameters['array_parallelism'])}"
        flags = [
            f"--{key.replace('_', '-')}" + ("" if value is True else f"={value}")
            for key, value in sorted(options.items())
        ]
        return ["sbatch", *flags, str(submission_file_path)]
