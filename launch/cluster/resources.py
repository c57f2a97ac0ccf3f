"""The SLURM resources of a run: the `slurm:` block, the overrides that match the run, the command line. Pure."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from artnet.config import explain, flatten
from artnet.config.document import Position
from shards.errors import UserError

from ..grid import Grid, Run
from ..grid.space import Values, partial
from .flags import Sbatch, Srun, merged, split
from .times import read_seconds, write_minutes

_UNITS = {"K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}  # in MiB


def _minutes(value: object) -> int:
    """Parse `"8:00:00"` or `"1-12:00:00"` as minutes, rounded up."""
    seconds = read_seconds(value) if isinstance(value, str) and value.count(":") == 2 else None
    if seconds is None:
        raise ValueError('write a time limit as "HOURS:MM:SS" or "DAYS-HH:MM:SS", in quotes')
    return max(1, -(-seconds // 60))


def _written(pattern: str, rule: str) -> Callable[[object], object]:
    """A validator of text that becomes an option of sbatch: it must not be able to inject anything else."""

    def check(value: object) -> object:
        if value is not None and not (isinstance(value, str) and re.fullmatch(pattern, value)):
            raise ValueError(rule)
        return value

    return check


def _lines(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _words(value: object) -> object:
    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) and word.isprintable() for word in words):
        raise ValueError("write a command and its arguments, such as `apptainer exec --nv IMAGE.sif`")
    return tuple(words)


_NAME = r"[\w.@:+-]+"
Name = Annotated[str, BeforeValidator(_written(_NAME, "a name is letters, digits and any of _ . @ : + -"))]
Names = Annotated[
    str, BeforeValidator(_written(f"{_NAME}(,{_NAME})*", "names are letters, digits and any of _ . @ : + -"))
]
Hosts = Annotated[str, BeforeValidator(_written(r"[\w.,\[\]-]+", "write hosts as node1,node[4-7], without spaces"))]
Features = Annotated[
    str, BeforeValidator(_written(r"[\w.,:&|*()\[\]+-]+", "write features as a100, a|b or a&b, without spaces"))
]
Memory = Annotated[
    str,
    BeforeValidator(_written(r"0|[1-9]\d{0,8}[KMGTkmgt]", 'write memory as a number and K, M, G or T, such as "64G"')),
]
Count = Annotated[int, Field(strict=True, ge=1)]


class Resources(BaseModel):
    """The resources of a job. None leaves a resource to the cluster's default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: Names | None = Field(None, description="one, or several as in a,b: the first that can start the job")
    account: Name | None = None
    qos: Name | None = None
    time: Annotated[int, BeforeValidator(_minutes)] = Field("1:00:00", validate_default=True, description="minutes")
    nodes: Count = 1
    gpus_per_node: int = Field(0, strict=True, ge=0, description="0: train on CPUs")
    gpu_type: Name | None = Field(None, description="as the cluster names it, such as a100; default: any")
    tasks_per_node: Count | None = Field(None, description="ranks; default: one per GPU, else 1")
    cpus_per_task: Count | None = None
    mem: Memory | None = Field(None, description='memory of each node, such as "64G"; "0": all of it')
    mem_per_gpu: Memory | None = None
    constraint: Features | None = Field(None, description="features that nodes must have, such as `ib|nvme`")
    exclude: Hosts | None = Field(None, description="nodes not to use")
    reservation: Name | None = None
    setup: Annotated[tuple[str, ...], BeforeValidator(_lines)] = Field(
        (), description="shell lines run at the start of the job, such as `module load cuda`"
    )
    sbatch: Sbatch = Field((), description="any other options of sbatch, such as `{nodelist: node7, exclusive: true}`")
    srun: Srun = Field((), description="any options of srun, such as `{mpi: none}`")
    wrapper: Annotated[tuple[str, ...], BeforeValidator(_words)] = Field(
        (), description="command that runs the program of each rank, such as `apptainer exec --nv IMAGE.sif`"
    )

    @model_validator(mode="after")
    def _check_memory(self) -> Self:
        if self.mem and self.mem_per_gpu:
            raise ValueError("mem and mem_per_gpu contradict each other; keep one of them")
        if self.mem_per_gpu and not self.gpus_per_node:
            raise ValueError("mem_per_gpu has no effect without gpus_per_node; give that too, or mem instead")
        if (self.mem or self.mem_per_gpu) and any(flag.startswith("--mem-per-cpu=") for flag in self.sbatch):
            raise ValueError("sbatch.mem_per_cpu and mem or mem_per_gpu contradict each other; keep one of them")
        if self.gpu_type and not self.gpus_per_node:
            raise ValueError("gpu_type has no effect without gpus_per_node; give that too")
        return self

    @property
    def ranks_per_node(self) -> int:
        """The number of training processes per node."""
        return self.tasks_per_node or self.gpus_per_node or 1

    @property
    def gpus_in_words(self) -> str:
        """The argument of --gpus-per-node: `4` or `a100:4`; empty without GPUs."""
        return ":".join(filter(None, [self.gpu_type, str(self.gpus_per_node)])) if self.gpus_per_node else ""

    @property
    def in_words(self) -> str:
        """What a job asks for, in the words of the block: `partition gpu, time 8:00:00, 1 node, 4 GPUs a node`."""
        of_node = " a node" if self.nodes > 1 else ""
        facts = [
            f"partition {self.partition}" if self.partition else "default partition",
            f"time {write_minutes(self.time)}",
            f"{self.nodes} node{'s' * (self.nodes > 1)}",
            f"{self.gpus_in_words or 'no'} GPU{'s' * (self.gpus_per_node > 1)}{of_node}",
            f"{self.ranks_per_node} process{'es' * (self.ranks_per_node > 1)}{of_node}",
            f"{self.cpus_per_task} CPUs a process" if self.cpus_per_task else "",
            f"memory {self.mem or self.mem_per_gpu + ' a GPU'}" if self.mem or self.mem_per_gpu else "",  # type: ignore[operator]
            f"sbatch {shlex.join(self.sbatch)}" if self.sbatch else "",
            f"srun {shlex.join(self.srun)}" if self.srun else "",
            f"in {shlex.join(self.wrapper)}" if self.wrapper else "",
        ]
        return ", ".join(filter(None, facts))

    @property
    def cpus_per_node(self) -> int:
        """The number of CPUs of all ranks of a node."""
        return self.ranks_per_node * (self.cpus_per_task or 1)

    @property
    def mib_per_node(self) -> int:
        """The memory per node, MiB; 0 if it is left to the cluster."""
        text, times = (self.mem_per_gpu, self.gpus_per_node) if self.mem_per_gpu else (self.mem or "0", 1)
        return 0 if text == "0" else int(int(text[:-1]) * _UNITS[text[-1].upper()] * times)

    def parameters(self) -> dict[str, Any]:
        """The same as submitit's parameters."""
        given = {name: value if is_set else True for name, is_set, value in map(split, self.sbatch)}
        wanted = {
            "time": self.time,
            "nodes": self.nodes,
            "ntasks_per_node": self.ranks_per_node,
            "gpus_per_node": self.gpus_in_words or None,
            "setup": list(self.setup) or None,
            **self.model_dump(include={"partition", "account", "qos", "cpus_per_task"}),
            **self.model_dump(include={"mem", "mem_per_gpu", "constraint", "exclude"}),
            "additional_parameters": {**self.model_dump(include={"reservation"}, exclude_none=True), **given} or None,
            "srun_args": list(self.srun) or None,
        }
        return {key: value for key, value in wanted.items() if value is not None}


# sbatch takes defaults from the environment. These apply where the grid says nothing; the others are ignored, as some
# would break the jobs (SBATCH_JOB_NAME, SBATCH_EXPORT).
USER_DEFAULTS = {
    "account": "SBATCH_ACCOUNT",
    "partition": "SBATCH_PARTITION",
    "qos": "SBATCH_QOS",
    "reservation": "SBATCH_RESERVATION",
    "constraint": "SBATCH_CONSTRAINT",
}


class SlurmBlock(Resources):
    """The grid's `slurm:` block: resources, overrides for some runs, and limits of the jobs."""

    max_parallel: Count = Field(
        256,
        description="jobs at a time (default: 256), or workers of a search (default: tune.max_parallel, else 8)",
    )
    requeue: int = Field(
        3, strict=True, ge=0, description="times that a job is requeued after a time-out or a node failure (default: 3)"
    )
    overrides: tuple[dict[str, Any], ...] = Field(
        (), description="`{when: {KEY: VALUE}, time: ...}`; later ones take precedence"
    )


class Request:
    """The resources of every run of a grid.

    Later overrides take precedence over earlier ones, the command line over all of them.
    """

    def __init__(
        self,
        grid: Grid,
        block: SlurmBlock,
        given: Mapping[str, Any],
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`block` is the validated block of the grid; `given` are values of the command line, ignored if None.

        Keys that neither gives take the variables of `USER_DEFAULTS` from the `environment`.

        Raises `UserError` with file and line for an invalid override.
        """
        self._grid = grid
        self.block = block
        self._given = {
            key: value for key, value in given.items() if value is not None and key in Resources.model_fields
        }
        self._defaults = {key: environment[name] for key, name in USER_DEFAULTS.items() if environment.get(name)}
        self._overrides = [_override(grid, index, entry) for index, entry in enumerate(block.overrides)]
        self._known: dict[tuple[int, ...], Resources] = {}
        self._met: dict[str, tuple[int, ...]] = {}
        for index, _ in enumerate(self._overrides):
            self._merged((index,))

    def of(self, run: Run) -> Resources:
        """The resources of a run. Raises `UserError` if the overrides that it matches contradict each other."""
        return self._merged(self._matching(run))

    def where(self, run: Run, key: str) -> str:
        """Where a resource of a run is given: `FILE:LINE`, or the name of an option or a variable."""
        return self._where(self._matching(run), key)

    def check_matches(self, runs: Sequence[Run]) -> None:
        """Check that each override matches a run of the whole grid. Raises `UserError` with file and line."""
        met = {index for run in runs for index in self._matching(run)}
        for index, _ in enumerate(self._overrides):
            if index not in met:
                where = self._grid.where("slurm", "overrides", index, "when")
                raise UserError(f"{where}: this `when` matches no run of the grid; fix or remove it")

    def _matching(self, run: Run) -> tuple[int, ...]:
        if not self._overrides:
            return ()
        name = run.config.name
        if name not in self._met:
            flat = flatten(run.config)
            self._met[name] = tuple(
                index
                for index, override in enumerate(self._overrides)
                if all(flat[key] == value for key, value in override.when.items())
            )
        return self._met[name]

    def _where(self, matching: tuple[int, ...], key: str) -> str:
        if key in self._given:
            return f"--{key.replace('_', '-')}"
        layers = [self._grid.slurm, *(self._overrides[index].resources for index in matching)]
        if key in self._defaults and not any(key in layer for layer in layers):
            return USER_DEFAULTS[key]
        return self._grid.where(*self._position(matching, key))

    def _position(self, matching: tuple[int, ...], key: str) -> Position:
        for index in reversed(matching):
            if key in self._overrides[index].resources:
                return ("slurm", "overrides", index, key)
        return ("slurm", key)

    def _layers(self, matching: tuple[int, ...]) -> Iterator[Mapping[str, Any]]:
        yield self._defaults
        yield {key: value for key, value in self._grid.slurm.items() if key in Resources.model_fields}
        for index in matching:
            yield self._overrides[index].resources
        yield self._given

    def _merged(self, matching: tuple[int, ...]) -> Resources:
        if matching not in self._known:
            try:
                self._known[matching] = Resources.model_validate(merged(self._layers(matching)))
            except ValidationError as error:
                key = str((*error.errors(include_url=False)[0]["loc"], "")[0])
                where = self._where(matching, key)
                written = None if key in self._given else self._grid.document.written.get(self._position(matching, key))
                raise UserError(
                    f"{where}: slurm.{explain(error, written=written)}" if key else f"{where}: {explain(error)}"
                ) from None
        return self._known[matching]


@dataclass(frozen=True)
class _Override:
    when: Values
    resources: Mapping[str, Any]


def _override(grid: Grid, index: int, entry: Mapping[str, Any]) -> _Override:
    position: Position = ("slurm", "overrides", index)
    if not isinstance(entry.get("when"), Mapping) or len(entry) < 2:
        raise grid.document.error(
            position, "an override is `{when: {KEY: VALUE}, ...}` with the resources of these runs, such as time"
        )
    grid.document.check_keys(position, entry, ("when", *Resources.model_fields))
    resources = {key: value for key, value in entry.items() if key != "when"}
    return _Override(partial(grid.document, (*position, "when"), entry["when"]), resources)
