"""Options of sbatch and srun beyond the keys of the `slurm:` block, as arguments of these programs. Pure.

Which options exist, and what values they take, SLURM says itself when it is asked before a launch (`tryout.py`).
Refused here is what would break the jobs or their bookkeeping.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

_RANKS = "use slurm.nodes and slurm.tasks_per_node"
_GPUS = "use slurm.gpus_per_node and slurm.gpu_type"
_LOGS = "--logs shows what a job prints"
_FOLDER = "use slurm.setup with `cd FOLDER`"
_EXPORT = "jobs inherit your environment; set other variables in slurm.setup, with `export NAME=VALUE`"
_ANSWER = "the launcher needs the job, and what SLURM answers"

# Options that the launcher gives itself or relies on, and what to use instead.
_BOTH = {
    **{key: f"use slurm.{key.replace('-', '_')}" for key in (
        "partition", "account", "qos", "time", "nodes", "gpus-per-node", "cpus-per-task", "mem", "mem-per-gpu",
        "constraint", "exclude", "reservation",
    )},
    **dict.fromkeys(("ntasks", "ntasks-per-node", "ntasks-per-gpu"), _RANKS),
    **dict.fromkeys(("gpus", "gpus-per-task", "gpus-per-socket", "tres-per-task"), _GPUS),
    **dict.fromkeys(("output", "error", "open-mode"), _LOGS),
    "input": "jobs read no input; name files in the run's configuration",
    "signal": "the launcher sets it, so that runs save a checkpoint before their time is over",
    "chdir": _FOLDER,
    "export": _EXPORT,
    "clusters": "start the launcher on a machine of that cluster",
    "dependency": "name the other sweep under after, or start the grid when the other job has ended",
    "no-kill": "a job that loses a node has to end, so that it is requeued",
    **dict.fromkeys(("help", "usage", "version", "test-only", "parsable", "quiet"), _ANSWER),
    **dict.fromkeys(("uid", "gid"), "start the launcher as that user"),
}  # fmt: skip
_SBATCH = {
    **_BOTH,
    "array": "the runs of a grid are the array; slurm.max_parallel says how many run at a time",
    "job-name": "jobs are found by their name; use slurm.sbatch.comment for a text of your own",
    "requeue": "use slurm.requeue",
    "no-requeue": "use `slurm.requeue: 0`; preempted jobs are always requeued",
    "wrap": "use slurm.setup for lines of your own",
    "export-file": _EXPORT,
    "wait": "the launcher returns once the jobs are submitted; --watch waits for them",
}
_SRUN = {
    **_BOTH,
    **dict.fromkeys(("label", "unbuffered"), "the launcher sets it"),
    **dict.fromkeys(("kill-on-bad-exit", "wait"), "the launcher sets when the ranks of a run end together"),
    **dict.fromkeys(("nodelist", "nodefile", "relative"), "ranks use all nodes of the job; use slurm.sbatch.nodelist"),
    "multi-prog": "all ranks run the same program",
    "gres": "use slurm.gpus_per_node, or slurm.sbatch.gres",
    "pty": "jobs have no terminal",
    **dict.fromkeys(("jobid", "no-allocate", "het-group"), "the ranks run in the job that is submitted"),
}  # fmt: skip


def _checked(program: str, refused: Mapping[str, str], name: str, value: object) -> str | None:
    """One option as an argument; None if it is off. Raises `ValueError` for what the program must not be given."""
    option = name.replace("_", "-")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", option):
        raise ValueError(f"{name!r} is not the long name of an option of {program}, such as comment")
    if len(option) == 1:
        raise ValueError(f"{name!r} is a short name; give the long one, as `{program} --help` shows it")
    # The programs take the beginning of a name for the whole one.
    if meant := option if option in refused else next((long for long in refused if long.startswith(option)), None):
        raise ValueError(f"{name}{'' if meant == option else f' ({meant})'} cannot be given: {refused[meant]}")
    if value is False:
        return None
    if value is True:
        return f"--{option}"
    parts = value if isinstance(value, list | tuple) else [value]
    if not parts or any(isinstance(part, bool) or not isinstance(part, str | int) for part in parts):
        raise ValueError(f"{name}: give text in quotes, a list of texts, or true for an option without a value")
    text = ",".join(map(str, parts))
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError(f"{name}: line ends and other control characters cannot be given")
    if option == "gres" and re.search(r"(^|,|/)gpu\b", text):
        raise ValueError(f"{name} cannot be given for GPUs: {_GPUS}")
    return f"--{option}={text}"


def _options(program: str, refused: Mapping[str, str]) -> Callable[[object], object]:
    def check(value: object) -> object:
        if isinstance(value, tuple):  # checked already
            return value
        if value is None:  # all of its lines are commented out
            return ()
        if not isinstance(value, Mapping):
            raise ValueError(f"write options of {program} as `{{NAME: VALUE}}`")
        found = {name.replace("_", "-"): _checked(program, refused, name, entry) for name, entry in value.items()}
        return tuple(flag for flag in found.values() if flag)

    return check


Sbatch = Annotated[tuple[str, ...], BeforeValidator(_options("sbatch", _SBATCH))]
Srun = Annotated[tuple[str, ...], BeforeValidator(_options("srun", _SRUN))]


def split(flag: str) -> tuple[str, str, str]:
    """`("comment", "=", "a text")` for `--comment=a text`; a bare flag has two empty parts."""
    return flag.removeprefix("--").partition("=")


def bare_last(flags: tuple[str, ...]) -> list[list[str]]:
    """The flags in as many orders as there are bare ones, of which each is the last one once.

    An option that lacks its value takes the next argument for it: only as the last one is it noticed.
    """
    bare = [flag for flag in flags if "=" not in flag]
    return [[*(flag for flag in flags if flag != last), last] for last in bare] or [list(flags)]


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Later layers over earlier ones; the mappings of options are merged option by option."""
    values: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            is_part = key in ("sbatch", "srun") and isinstance(value, Mapping) and isinstance(values.get(key), Mapping)
            values[key] = {**values[key], **value} if is_part else value
    return values
