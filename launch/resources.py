"""What a run asks SLURM for: the grid's `slurm:` block, and over it the overrides that match the run. Pure."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from artnet.config import canonical, flatten
from shards.errors import UserError

from .grid import Run

_TIME = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")


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


def resources(block: SlurmBlock, run: Run, where: str) -> Resources:
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
