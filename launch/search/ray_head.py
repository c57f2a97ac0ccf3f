"""How the Ray of a job of SLURM is reached: a file that its nodes, and its user, find in the sweep's folder."""

import contextlib
import getpass
import os
import socket
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from artnet.formats import FORMAT
from shards.errors import UserError
from shards.files import atomic_write, open_regular

MAX_BYTES = 100_000


class Head(BaseModel):
    """`RUNS/SWEEP/ray/JOB.json`: the `address` of Ray in a job, its token, and its dashboard on the first `node`.

    `restart` is how often SLURM had restarted the job: what an earlier start has left is not joined. `is_over`: there
    is nothing to join any more.
    """

    format: int = FORMAT
    restart: int
    node: str = ""
    address: str = ""
    token: str = ""
    dashboard: str = ""
    is_over: bool = False

    def write(self, file: Path) -> None:
        """Write the file, for this user alone."""
        atomic_write(file, self.model_dump_json(indent=2) + "\n", 0o600)

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read the file; None if it is missing, broken or another user's, who could have Ray run anything here."""
        with contextlib.suppress(OSError, ValidationError, UserError), open_regular(file) as content:
            if os.fstat(content.fileno()).st_uid == os.getuid():
                return cls.model_validate_json(content.read(MAX_BYTES))
        return None

    def door(self, file: Path) -> str:
        """How to look at the dashboard, which listens on the loopback address of its node alone."""
        port, user = urlsplit(self.dashboard).port, getpass.getuser()
        login = f"-J {user}@{socket.getfqdn()} " if os.environ.get("SSH_CONNECTION") else ""
        tunnel = f"ssh {login}-L {port}:127.0.0.1:{port} {user}@{self.node}"
        return f"Ray dashboard: {tunnel}   then open http://127.0.0.1:{port}   its token: in {file}"
