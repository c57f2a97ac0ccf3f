"""What SLURM has given a search: nodes that Ray may use, and what of this one."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from shards.errors import UserError

from ..cluster.rank import rank_threads
from ..host.gpus import visible_gpus
from .ray_head import Head


@dataclass(frozen=True)
class Allocation:
    """The nodes of this job. `file` is where they find its Ray: see `ray_head.py`."""

    file: Path
    nodes: int
    restart: int

    @classmethod
    def here(cls, folder: Path) -> "Allocation":
        """The job in which this process runs, with the folder of the search's files."""
        given = os.environ
        restart = int(given.get("SLURM_RESTART_COUNT") or 0)
        return cls(folder / f"{given['SLURM_JOB_ID']}.json", int(given.get("SLURM_NNODES") or 1), restart)

    @property
    def cpus(self) -> int:
        """The CPUs of this node that are the job's."""
        return rank_threads(os.environ.get("SLURM_CPUS_ON_NODE", ""), 1)

    def gpus(self) -> list[str]:
        """The GPUs of this node that are the job's. Raises `UserError` if torch does not see all of them."""
        given = os.environ.get("SLURM_GPUS_ON_NODE", "")
        if not given.isdecimal() or not int(given):
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # those that SLURM does not hide are others'
        gpus = visible_gpus()
        if given.isdecimal() and len(gpus) < int(given):
            raise UserError(
                f"SLURM gave this job {given} GPUs of {socket.gethostname()}, and torch can use {len(gpus)} of them; "
                "`slurm: {exclude: NODE}` leaves a node out"
            )
        return gpus

    @property
    def address(self) -> str:
        """This node's address in the network of the job's nodes; the loopback address if it is the only one."""
        first = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "")
        if self.nodes == 1 or not first:
            return "127.0.0.1"
        family = socket.AF_INET6 if ":" in first else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((first, 9))  # sends nothing
            return str(probe.getsockname()[0])

    def publish(self, address: str, token: str, dashboard: str) -> str:
        """Let the other nodes join the Ray at this address of this node. Returns how to look at its dashboard."""
        node = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        head = Head(restart=self.restart, node=node, address=address, token=token, dashboard=dashboard)
        head.write(self.file)
        return head.door(self.file)

    def withdraw(self, is_over: bool) -> None:
        """There is no Ray to join: not yet, or if it `is_over`, not any more."""
        Head(restart=self.restart, is_over=is_over).write(self.file)

    def head(self) -> Head | None:
        """What this start of the job has published; None if there is nothing yet."""
        head = Head.read(self.file)
        return head if head and head.restart == self.restart else None
