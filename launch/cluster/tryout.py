"""What SLURM itself says of a job before it is submitted: sbatch of its resources, srun of its options."""

from collections.abc import Callable

from . import programs
from .flags import bare_last, split
from .programs import SchedulerError
from .resources import Resources


def problems(asked: Resources, where: Callable[[str], str], all_in_service: bool) -> list[str]:
    """Why SLURM would refuse a job with these resources; empty if it would not.

    `where` is FILE:LINE of a resource; `all_in_service` whether no node of the cluster is down.
    """
    found = []
    if reason := refusal(try_sbatch(asked), all_in_service):
        found.append(f"{where(_key_in(reason, asked))}: SLURM refuses these resources: {reason}; change them")
    if reason := refusal(try_srun(asked), all_in_service=True):
        found.append(f"{where('srun')}: srun refuses these options: {reason}; change slurm.srun")
    return found


def try_sbatch(asked: Resources) -> str:
    """SLURM's message if it would refuse a job with these resources; empty if it would not or does not answer."""
    options = asked.parameters()
    for key in ("setup", "srun_args", "additional_parameters"):
        options.pop(key, None)
    options |= asked.model_dump(include={"reservation"}, exclude_none=True)
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    try:
        for own in bare_last(asked.sbatch):
            programs.run("sbatch", "--test-only", "--output=/dev/null", *flags, "--wrap=true", *own)
    except SchedulerError as error:
        return error.said
    return ""


def try_srun(asked: Resources) -> str:
    """The message of this machine's srun if it refuses options; empty if it does not, or there are none."""
    try:
        for own in bare_last(asked.srun) if asked.srun else []:
            programs.run("srun", *own, "--usage")  # it reads all options, and starts nothing
    except SchedulerError as error:
        takes_value = "No command given" in error.said  # it took --usage for the value of a bare flag
        return f"option '{own[-1]}' requires an argument" if takes_value else error.said
    return ""


def refusal(said: str, all_in_service: bool) -> str:
    """The reason in what sbatch or srun printed as it refused; empty if it is a temporary one.

    Its message is the same for nodes that are down, for which jobs may wait, and for nodes that do not exist.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("Try ")]
    reason = lines[-1] if lines else ""
    for prefix in ("sbatch: ", "srun: ", "fatal: ", "error: ", "allocation failure: ", "Batch job submission failed: "):
        reason = reason.removeprefix(prefix)
    temporary = ["not available (down", "busy", "temporarily", "unable to contact", "try again", "timed out"]
    temporary += [] if all_in_service else ["configuration is not available"]
    return "" if any(words in reason.lower() for words in temporary) else reason.rstrip(".")


def _key_in(reason: str, asked: Resources) -> str:
    """The resource that a refusal is about, guessed from its words."""
    said = reason.lower()
    if asked.sbatch and ("option" in said or any(split(flag)[0] in said for flag in asked.sbatch)):
        return "sbatch"
    words = {"feature": "constraint", "reservation": "reservation", "node name": "exclude", "account": "account"}
    words |= {"qos": "qos", "time": "time", "memory": "mem", "gres": "gpus_per_node"}
    key = next((key for word, key in words.items() if word in said), "partition")
    return key if getattr(asked, key) or not asked.sbatch else "sbatch"
