"""submitit's executors, dispatching jobs that read an array's file instead of a pickle."""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import environment_variables

from .programs import run, scrubbed


def task_command(array_file: Path) -> str:
    """The program of a job in shell words: this interpreter, on the code of PYTHONPATH wherever it is started."""
    return shlex.join([sys.executable, "-u", "-P", "-m", "launch.cluster.task", str(array_file.absolute())])


class SlurmArrayExecutor(submitit.SlurmExecutor):
    """Submits the runs of an array's file as one SLURM job array.

    Every option is given to sbatch as an argument, where no quoting is needed, and which counts more than SBATCH_*
    variables. All variables of the environment go to the job, as is sbatch's custom: those that `env_from` names
    must, and so must what `module load` and virtual environments have set. SLURM keeps them, no file of ours does.
    """

    def submit_runs(self, array_file: Path, count: int, code: Path) -> str:
        """Submit `count` jobs (0: one job that is no array) and return the id of the array.

        Raises `SchedulerError` with SLURM's words if it refuses, submitit's `FailedSubmissionError` if it answers
        with no id.
        """
        return self._submit(array_file.with_suffix(".sh"), task_command(array_file), count, code)

    def submit_report(self, sweep: Path, code: Path) -> str:
        """Submit one job that makes the sweep's table and page, and return its id. Raises the same."""
        command = [sys.executable, "-P", "-m", "artnet.report", str(sweep.absolute())]
        return self._submit(self.folder / "report.sh", shlex.join(command), 0, code)

    def _submit(self, script: Path, command: str, count: int, code: Path) -> str:
        self._count, self._code = count, code
        self.folder.mkdir(parents=True, exist_ok=True)
        script.write_text(self._make_submission_file_text(command, ""))
        return self._get_job_id_from_submission_command(run(*self._make_submission_command(script)))

    def _make_submission_file_text(self, command: str, uid: str) -> str:
        code = shlex.quote(str(self._code.absolute()))
        return "\n".join(
            [
                "#!/bin/bash",
                *self.parameters.get("setup", []),
                # After the user's own lines, which may load modules that come with a PYTHONPATH.
                f'export PYTHONPATH={code}"${{PYTHONPATH:+:$PYTHONPATH}}" SUBMITIT_EXECUTOR=slurm',
                "export TERM=dumb",  # unbuffered, srun gives its tasks a terminal, and what they write goes to a file
                # Since 22.05 srun does not ask for what sbatch was asked for.
                '[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK',
                f"exec srun --unbuffered --label --kill-on-bad-exit=1 {command}",
                "",
            ]
        )

    def _make_submission_command(self, submission_file_path: Path) -> list[str]:
        given = {**self.parameters, **self.parameters.get("additional_parameters", {})}
        own = ("setup", "additional_parameters", "signal_delay_s", "array_parallelism")
        options: dict[str, Any] = {key: value for key, value in given.items() if key not in own}
        folder = str(self.folder).replace("%", "%%")  # which has a meaning in a pattern for file names
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


class LocalArrayExecutor(submitit.LocalExecutor):
    """Starts the runs of an array's file as processes of this machine, all at once."""

    def submit_runs(self, array_file: Path, count: int, code: Path) -> list[str]:
        """Start `count` jobs and return their ids, which are process numbers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = task_command(array_file)
        path = os.pathsep.join([str(code.absolute()), *filter(None, [os.environ.get("PYTHONPATH")])])
        with scrubbed(), environment_variables(PYTHONPATH=path):
            return [self._submit_command(f"{command} {place}").job_id for place in range(count)]
