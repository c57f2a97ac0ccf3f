"""Checks before jobs are submitted: every problem in one sentence, all of them at once.

SLURM accepts jobs that can never run, such as 99 nodes of a cluster that has four, and leaves them in the queue.
"""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from artnet.config import RunConfig
from shards.files import is_url

from ..grid import Run
from ..sweep.disk import copies
from . import inventory, tryout
from .inventory import Cluster, Node, Partition, listed
from .resources import Request, Resources
from .times import write_minutes

# Trainable parameters of a backbone without its classifier, in millions.
_TRUNKS = {"resnet18": 11.2, "resnet34": 21.3, "resnet50": 23.5, "resnet101": 42.5}
_EXTRAS = 1.15  # the factor by which recurrence, attention and heads enlarge the study's models
_LOGS = 10_000_000  # bytes
_NODE_LOCAL = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108  # nothing is written there
_IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")

Where = Callable[[str], str]  # a resource's key -> FILE:LINE


@dataclass
class Findings:
    """Problems, which prevent a submission, and warnings, which do not."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check(request: Request, runs: Sequence[Run], new: Sequence[Run], sweep: Path) -> Findings:
    """Check the resources of `runs`, which are to be submitted; `new` are those of them without a checkpoint.

    `sweep` is the sweep's folder. Raises `UserError` if SLURM does not answer.
    """
    if not runs:
        return Findings()
    groups: dict[Resources, Run] = {}
    for run in runs:
        groups.setdefault(request.of(run), run)
    slurm = inventory.ask(with_accounts=any(asked.account or asked.qos for asked in groups))
    problems: list[str] = []
    warnings: list[str] = []
    for asked, run in groups.items():

        def where(key: str, run: Run = run) -> str:
            return request.where(run, key)

        found = resource_problems(asked, slurm, where)
        problems += found or tryout.problems(asked, where, all(node.is_in_service for node in slurm.nodes))
        warnings += resource_warnings(asked, slurm, where)
    if "\\" in str(sweep.absolute()):
        problems.append(f"{sweep}: SLURM writes no log where a folder has a backslash in its name; give other --runs")
    space = disk(sweep, free_bytes(sweep), [run.config for run in new], request.block.max_parallel)
    problems += space.problems
    warnings += space.warnings
    shards = {run.config.data.shards for run in runs}
    paths = [Path(sys.prefix), sweep, *(Path(name) for name in shards if name and not is_url(name))]
    hosts = {node.host for node in slurm.nodes}
    warnings += path_warnings(paths, file_system, elsewhere=bool(hosts - {socket.gethostname().partition(".")[0]}))
    return Findings(list(dict.fromkeys(problems)), list(dict.fromkeys(warnings)))


def resource_problems(asked: Resources, slurm: Cluster, where: Where) -> list[str]:
    """The reasons why a job can never start or would be refused; empty if there are none."""
    names = (asked.partition or slurm.default or "").split(",")
    if names == [""]:
        return [
            f"{where('partition')}: this cluster has no default partition; "
            f"give slurm.partition, one of {listed(slurm.partitions)}"
        ]
    if unknown := [name for name in names if name not in slurm.partitions]:
        return [f"{where('partition')}: no partition {unknown[0]!r}; this cluster has {listed(slurm.partitions)}"]
    each = [_partition_problems(asked, slurm, slurm.partitions[name], where) for name in names]
    # One of several partitions is enough.
    problems = [] if not all(each) else each[0]
    for key, kind, known in (("account", "account", slurm.accounts), ("qos", "QOS", slurm.qos)):
        name = getattr(asked, key)
        if name and known is not None and name not in known:
            yours = f"those that you may use are {listed(known)}" if known else "you may use none on this cluster"
            problems.append(f"{where(key)}: no {kind} {name!r}; {yours}")
    return problems


def _partition_problems(asked: Resources, slurm: Cluster, partition: Partition, where: Where) -> list[str]:
    problems = []
    nodes, name = slurm.nodes_of(partition.name), partition.name
    if partition.state != "UP":
        others = [other.name for other in slurm.partitions.values() if other.state == "UP"]
        advice = f"choose another, such as {listed(others)}" if others else "ask the administrators"
        problems.append(f"{where('partition')}: partition {name} is {partition.state.lower()}; {advice}")
    if partition.max_minutes is not None and asked.time > partition.max_minutes:
        problems.append(
            f"{where('time')}: time {write_minutes(asked.time)} is more than partition {name} allows, "
            f"{write_minutes(partition.max_minutes)}; ask for less (an interrupted run resumes)"
        )
    most = min(len(nodes), len(nodes) if partition.max_nodes is None else partition.max_nodes)
    if asked.nodes > most:
        problems.append(
            f"{where('nodes')}: nodes {asked.nodes} is more than partition {name} gives a job, {most}; ask for fewer"
        )
    lacking = _lacking(asked, partition, nodes)
    for key, wanted, best in lacking:
        problems.append(f"{where(key)}: {wanted} is more than any node of partition {name} has, {best}; ask for less")
    fitting = sum(_fits(asked, partition, node) for node in nodes)
    if not lacking and fitting < asked.nodes <= most:
        problems.append(
            f"{where('nodes')}: only {fitting} of the {len(nodes)} nodes of partition {name} have {_described(asked)}, "
            f"and {asked.nodes} are asked for; ask for less"
        )
    for key, kind, allowed, denied in (
        ("account", "account", partition.accounts, partition.denied_accounts),
        ("qos", "QOS", partition.qos, partition.denied_qos),
    ):
        given = getattr(asked, key)
        if given and (given in denied or (allowed is not None and given not in allowed)):
            advice = f"it takes {listed(allowed)}" if allowed else "choose another"
            problems.append(f"{where(key)}: partition {name} does not take {kind} {given!r}; {advice}")
    return problems


def _room(asked: Resources, partition: Partition, node: Node) -> tuple[int, int, int]:
    """The GPUs (of the type that is asked for), CPUs and MiB that one job can have on a node."""
    cpus, mib = partition.max_cpus_per_node or node.cpus, partition.max_mib_per_node or node.memory_mib
    return node.gpus_of(asked.gpu_type), min(node.cpus, cpus), min(node.memory_mib, mib)


def _needs(asked: Resources) -> tuple[int, int, int]:
    return asked.gpus_per_node, asked.cpus_per_node, asked.mib_per_node


def _fits(asked: Resources, partition: Partition, node: Node) -> bool:
    return all(need <= room for need, room in zip(_needs(asked), _room(asked, partition, node), strict=True))


def _lacking(asked: Resources, partition: Partition, nodes: Sequence[Node]) -> list[tuple[str, str, str]]:
    """The resources that no node has enough of: the key, what is asked for, and the largest amount on a node."""
    rooms = [_room(asked, partition, node) for node in nodes] or [(0, 0, 0)]
    gpus, cpus, mib = (max(column) for column in zip(*rooms, strict=True))
    cpu_key = "cpus_per_task" if asked.cpus_per_task else "tasks_per_node"
    found = []
    if asked.gpus_per_node > gpus:
        found.append(("gpus_per_node", f"gpus_per_node {asked.gpus_in_words}", str(gpus)))
    elif asked.cpus_per_node > cpus:
        each = f"{asked.ranks_per_node} tasks of {asked.cpus_per_task or 1} CPUs"
        found.append((cpu_key, f"{asked.cpus_per_node} CPUs ({each})", str(cpus)))
    if asked.mib_per_node > mib:
        key = "mem_per_gpu" if asked.mem_per_gpu else "mem"
        found.append((key, f"{_gib(asked.mib_per_node)} of memory", _gib(mib)))
    return found


def _described(asked: Resources) -> str:
    wants = [" ".join(filter(None, [str(asked.gpus_per_node), asked.gpu_type, "GPUs"]))] if asked.gpus_per_node else []
    wants.append(f"{asked.cpus_per_node} CPUs")
    if asked.mib_per_node:
        wants.append(f"{_gib(asked.mib_per_node)} of memory")
    return " and ".join([", ".join(wants[:-1]), wants[-1]] if wants[:-1] else wants)


def _gib(mib: int) -> str:
    return f"{mib / 1024:.4g} GiB"


def resource_warnings(asked: Resources, slurm: Cluster, where: Where) -> list[str]:
    """Problems that delay a job but do not prevent it."""
    warnings = []
    for name in (asked.partition or slurm.default or "").split(","):
        if partition := slurm.partitions.get(name):
            fitting = [node for node in slurm.nodes_of(name) if _fits(asked, partition, node)]
            up = sum(node.is_in_service for node in fitting)
            if up < asked.nodes <= len(fitting):
                warnings.append(
                    f"{where('partition')}: {up} of the {len(fitting)} nodes of partition {name} that have room for a "
                    "job are in service; the jobs wait for the others"
                )
    return warnings


def checkpoint_bytes(config: RunConfig) -> tuple[int, int]:
    """The estimated size in bytes of a run's last checkpoint (with the optimizer's state) and of its best one."""
    weights = _TRUNKS[config.model.backbone] * _EXTRAS * 4e6
    return int(weights * copies(config)), int(weights)


def disk(folder: Path, free: int, new: Sequence[RunConfig], parallel: int) -> Findings:
    """Check whether `free` bytes suffice for one run, and for all `new` ones, `parallel` of which write at a time."""
    sizes = [checkpoint_bytes(config) for config in new]
    # A new checkpoint is complete before it replaces the old one.
    one = max((2 * last + best for last, best in sizes), default=0) + _LOGS
    # One that trains has the one before too. When it is complete, its best one may be all that stays.
    peaks = [3 * last + best for last, best in sizes]
    kept = [best if run.train.keep == "best" else 2 * last + best for run, (last, best) in zip(new, sizes, strict=True)]
    more = [peak - stays for peak, stays in zip(peaks, kept, strict=True)]
    every = sum(kept) + sum(sorted(more, reverse=True)[:parallel]) + _LOGS
    has = f"{folder} has {free / 1e9:.2f} GB of free disk"
    if free < one:
        return Findings([f"{has}, and a run takes about {one / 1e9:.2f} GB; free some, or give another --runs"])
    if free < every:
        return Findings(
            warnings=[f"{has}, and the checkpoints of {len(new)} new runs take about {every / 1e9:.2f} GB together"]
        )
    return Findings()


def free_bytes(folder: Path) -> int:
    """The free bytes on the disk of a folder, which need not exist yet."""
    return shutil.disk_usage(_nearest(folder)).free


def file_system(path: Path) -> str:
    """The type of the file system of a path, such as `ext4`, `nfs4` or `tmpfs`; empty if it is not known."""
    best, kind = "", ""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    here = _nearest(path).resolve()
    for line in lines:
        _, mount, name, *_ = line.split(" ")
        if here.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, name
    return kind


def path_warnings(paths: Iterable[Path], kind_of: Callable[[Path], str], elsewhere: bool) -> list[str]:
    """Warnings about paths that jobs are unlikely to find if they run `elsewhere`, on another machine."""
    if not elsewhere:
        return []
    warnings = []
    for path in map(Path.absolute, paths):
        if kind_of(path) in _IN_MEMORY or any(path.is_relative_to(place) for place in _NODE_LOCAL):
            warnings.append(f"{path} is on storage that most clusters do not share between nodes; jobs may not find it")
    return warnings


def _nearest(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path
