"""What the cluster is: partitions, nodes, limits. Asked once for each submission; reading the answers is pure."""

import getpass
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from shards.errors import UserError

from .programs import SchedulerError, run
from .times import read_seconds

# The word before `=`; what an administrator wrote as a comment or a reason may hold spaces, and comes last.
_KEY = re.compile(r"(?:^|\s)([A-Za-z][\w/:]*)=")
_OUT_OF_SERVICE = ("DOWN", "DRAIN", "FAIL", "MAINT", "NO_RESPOND", "NOT_RESPONDING", "POWERING_DOWN", "UNKNOWN")


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. `host` is the name that it calls itself, `gpus` are their numbers by type."""

    name: str
    host: str
    cpus: int
    memory_mib: int
    gpus: Mapping[str, int]
    is_in_service: bool
    partitions: frozenset[str]

    def gpus_of(self, kind: str | None) -> int:
        """The GPUs of one type, or all of them."""
        return self.gpus.get(kind, 0) if kind else sum(self.gpus.values())


@dataclass(frozen=True)
class Partition:
    """A queue of jobs. None: no limit, or everybody is allowed."""

    name: str
    state: str  # UP, DOWN, DRAIN or INACTIVE
    is_default: bool
    max_minutes: int | None
    max_nodes: int | None
    max_cpus_per_node: int | None
    max_mib_per_node: int | None
    accounts: frozenset[str] | None
    denied_accounts: frozenset[str]
    qos: frozenset[str] | None
    denied_qos: frozenset[str]


@dataclass(frozen=True)
class Cluster:
    """A cluster as it is now. `accounts` and `qos` are those that a job may name, None where nobody can tell."""

    partitions: dict[str, Partition]
    nodes: tuple[Node, ...]
    accounts: frozenset[str] | None = None
    qos: frozenset[str] | None = None

    @property
    def default(self) -> str | None:
        """The partition of jobs that name none."""
        return next((name for name, partition in self.partitions.items() if partition.is_default), None)

    def nodes_of(self, partition: str) -> list[Node]:
        """The nodes of a partition, whatever they do now."""
        return [node for node in self.nodes if partition in node.partitions]


def ask(with_accounts: bool) -> Cluster:
    """Ask SLURM what the cluster is: two commands, and three more for accounts and QOS.

    Raises `UserError` if SLURM does not answer. Without its accounting, accounts and QOS are not known.
    """
    try:
        partitions = read_partitions(run("scontrol", "--all", "--oneliner", "show", "partition"))
        nodes = read_nodes(run("scontrol", "--all", "--oneliner", "show", "node"))
    except SchedulerError as error:
        raise UserError(f"SLURM does not answer ({error}); nothing was submitted, try again when it does") from None
    accounts = qos = None
    if with_accounts:
        try:
            config = settings(run("scontrol", "show", "config"))
            enforced = "associations" in config.get("AccountingStorageEnforce", "")
            who = ["assoc", "where", f"user={getpass.getuser()}"] if enforced else ["account"]
            accounts = frozenset(run("sacctmgr", "-nP", "show", *who, "format=account").split())
            qos = frozenset(run("sacctmgr", "-nP", "show", "qos", "format=name").split())
        except SchedulerError:  # accounting is off or down, which does not keep jobs from being submitted
            pass
    return Cluster(partitions, nodes, accounts, qos)


def read_partitions(text: str) -> dict[str, Partition]:
    """The partitions in what `scontrol --oneliner show partition` says, by name."""
    found = {}
    for fields in _records(text, "PartitionName"):
        found[fields["PartitionName"]] = Partition(
            name=fields["PartitionName"],
            state=fields.get("State", "UP"),
            is_default=fields.get("Default") == "YES",
            max_minutes=None if (limit := read_seconds(fields.get("MaxTime", ""))) is None else limit // 60,
            max_nodes=_number(fields.get("MaxNodes")),
            max_cpus_per_node=_number(fields.get("MaxCPUsPerNode")),
            max_mib_per_node=_number(fields.get("MaxMemPerNode")),
            accounts=_names(fields.get("AllowAccounts")),
            denied_accounts=_names(fields.get("DenyAccounts")) or frozenset(),
            qos=_names(fields.get("AllowQos")),
            denied_qos=_names(fields.get("DenyQos")) or frozenset(),
        )
    return found


def read_nodes(text: str) -> tuple[Node, ...]:
    """The nodes in what `scontrol --oneliner show node` says."""
    return tuple(
        Node(
            name=fields["NodeName"],
            host=fields.get("NodeHostName", fields["NodeName"]),
            cpus=_number(fields.get("CPUEfctv")) or _number(fields.get("CPUTot")) or 1,
            memory_mib=(_number(fields.get("RealMemory")) or 0) - (_number(fields.get("MemSpecLimit")) or 0),
            gpus=read_gpus(fields.get("Gres", "")),
            is_in_service=not any(word in fields.get("State", "").upper() for word in _OUT_OF_SERVICE),
            partitions=_names(fields.get("Partitions")) or frozenset(),
        )
        for fields in _records(text, "NodeName")
    )


def settings(text: str) -> dict[str, str]:
    """The settings in what `scontrol show config` says."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def read_gpus(gres: str) -> dict[str, int]:
    """The GPUs among a node's generic resources: 4 of `a100` for `gpu:a100:4(S:0-1),nvme:1`, of no type for `gpu:4`."""
    found: Counter[str] = Counter()
    for part in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = part.strip().split(":")
        if name == "gpu":
            count = int(rest.pop()) if rest and rest[-1].isdecimal() else 1
            found[":".join(rest)] += count
    return dict(found)


def _records(text: str, first: str) -> Iterator[dict[str, str]]:
    for line in text.splitlines():
        pieces = _KEY.split(line.strip())
        fields: dict[str, str] = {}
        for key, value in zip(pieces[1::2], pieces[2::2], strict=True):
            fields.setdefault(key, value.strip())
        if first in fields:
            yield fields


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _names(text: str | None) -> frozenset[str] | None:
    return None if text in (None, "", "ALL", "(null)") else frozenset(str(text).split(","))


def listed(names: Iterable[str]) -> str:
    """Names for a sentence, the first 20 of them."""
    known = sorted(names)
    return ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
