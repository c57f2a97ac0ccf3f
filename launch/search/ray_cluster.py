"""Ray on this machine, for this user alone: it joins no other cluster, and nobody joins it without its token."""

import contextlib
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.workers import cores

LONGEST = 20  # characters of the path of temporary files: the sockets in Ray's folder may have 107


@contextlib.contextmanager
def private_folder() -> Iterator[Path]:
    """A folder for Ray that only this user can open. Also sets Ray's variables for `start`.

    It holds the token, so that Ray does not make one that others can read.
    """
    parent = tempfile.gettempdir() if len(tempfile.gettempdir()) <= LONGEST else "/tmp"  # noqa: S108  # mkdtemp is safe
    with tempfile.TemporaryDirectory(prefix="artnet-ray-", dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        token = os.open(token_file(folder), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(token, "w") as file:
            file.write(secrets.token_hex(32))
        settings = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token_file(folder)),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AIR_NEW_OUTPUT": "0",  # which would point to a folder of Ray's that is gone when it ends
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the run directories hold the curves already
        }
        # Of another cluster, if it is set: of the job or the shell that this is started from.
        foreign = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_NAMESPACE", "RAY_TMPDIR")
        os.environ |= settings  # Ray reads some of them when it is imported
        for variable in foreign:
            os.environ.pop(variable, None)
        yield folder


def token_file(folder: Path) -> Path:
    """The file with the token that Ray's dashboard asks for."""
    return folder / "token"


def start(folder: Path, gpus: int) -> str:
    """Start Ray with all CPUs and so many GPUs of this machine, and return the address of its dashboard."""
    import ray

    with contextlib.chdir(folder):  # Ray's workers would import from the working directory first
        context: Any = ray.init(
            # Ray lets everybody write there.
            address="local", _temp_dir=str(folder / "r"), _node_ip_address="127.0.0.1", include_dashboard=True,
            dashboard_host="127.0.0.1", log_to_driver=False, logging_level=logging.ERROR, num_cpus=cores(),
            num_gpus=gpus,
        )  # fmt: skip
    return f"http://{context.dashboard_url}"
