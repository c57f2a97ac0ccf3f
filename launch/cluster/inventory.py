"""The cluster's partitions, nodes and limits. Queried once per submission; parsing the answers is pure."""

import getpass
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from shards.errors import UserError

from .programs import SchedulerError, run
from .times import read_seconds

# The word before `=`. Values may contain spaces: comments and reasons are free text.
_KEY = re.compile(r"(?:^|\s)([A-Za-z][\w/:]*)=")
_OUT_OF_SERVICE = ("DOWN", "DRAIN", "FAIL", "MAINT", "NO_RESPOND", "NOT_RESPONDING", "POWERING_DOWN", "UNKNOWN")


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. `host` is its own host name, `gpus` the number of its GPUs by type."""

    name: str
    host: str
    cpus: int
    memory_mib: int
    gpus: Mapping[str, int]
    is_in_service: bool
    partitions: frozenset[str]

    def gpus_of(self, kind: str | None) -> int:
        """The number of GPUs of one type, or of all types for None."""
        return self.gpus.get(kind, 0) if kind else sum(self.gpus.values())


@dataclass(frozen=True)
class Partition:
    """A partition of the cluster. None means no limit, or that everybody is allowed."""

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
    """The state of the cluster. `accounts` and `qos` are those that jobs may use; None if they are not known."""

    partitions: dict[str, Partition]
    nodes: tuple[Node, ...]
    accounts: frozenset[str] | None = None
    qos: frozenset[str] | None = None

    @property
    def default(self) -> str | None:
        """The default partition; None if the cluster has none."""
        return next((name for name, partition in self.partitions.items() if partition.is_default), None)

    def nodes_of(self, partition: str) -> list[Node]:
        """The nodes of a partition, in any state."""
        return [node for node in self.nodes if partition in node.partitions]


def ask(with_accounts: bool) -> Cluster:
    """Query SLURM: two commands, and three more for accounts and QOS.

    Raises `UserError` if SLURM does not answer. Without accounting, accounts and QOS are None.
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
        except SchedulerError:  # accounting is off or down; jobs can be submitted nevertheless
            pass
    return Cluster(partitions, nodes, accounts, qos)


def read_partitions(text: str) -> dict[str, Partition]:
    """Parse the output of `scontrol --oneliner show partition`. Returns the partitions by name."""
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
    """Parse the output of `scontrol --oneliner show node`."""
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
    """Parse the output of `scontrol show config`."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def read_gpus(gres: str) -> dict[str, int]:
    """The GPUs by type in a node's generic resources: `{"a100": 4}` for `gpu:a100:4(S:0-1),nvme:1`.

    GPUs without a type have the empty string as type.
    """
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
    """Names joined for a message: the first 20 of them, and how many more."""
    known = sorted(names)
    return ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
