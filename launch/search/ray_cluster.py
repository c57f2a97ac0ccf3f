"""Ray for this user alone: on this machine it joins no other cluster, and nobody joins it without its token."""

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LONGEST = 20  # characters of the path of temporary files: the sockets in Ray's folder may have 107
PREFIX = "artnet-ray-"
LOCK = "lock"
MAKING_S = 60.0  # until a folder has its lock
FOLDER = "ARTNET_RAY_FOLDER"  # the variable that names the folder to all processes of a node
# Of another cluster, if they are set: of the job or the shell that this is started from.
FOREIGN = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_NAMESPACE", "RAY_TMPDIR")


@contextlib.contextmanager
def private_folder(token: str = "") -> Iterator[Path]:
    """A folder for Ray that only this user can open, with its token, by default a new one; removed at the end.

    Those that killed launchers have left behind are removed too.
    """
    parent = Path(tempfile.gettempdir())
    if len(str(parent)) > LONGEST:
        parent = Path("/tmp")  # noqa: S108  # mkdtemp is safe
    _remove_left_behind(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        descriptor = os.open(token_file(folder), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(token or secrets.token_hex(32))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _remove_left_behind(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            about = folder.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and _is_left_behind(folder, about.st_mtime):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left_behind(folder: Path, changed: float) -> bool:
    """Whether no launcher holds the folder's lock. One without a lock is being made, or was half removed long ago."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - changed > MAKING_S
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)
    return True


def token_file(folder: Path) -> Path:
    """The file with the token that Ray's dashboard asks for."""
    return folder / "token"


def environment(folder: Path, around: Mapping[str, str], joins: bool, several: bool = False) -> dict[str, str]:
    """The variables of a process that starts Ray in this folder, or with `joins` of one that joins another cluster.

    `several`: Ray has several nodes.
    """
    kept = around if joins else {name: value for name, value in around.items() if name not in FOREIGN}
    own = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file(folder)),
        # Else Ray takes another address of the machine for the loopback one, and listens there and on all others.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": str(int(several)),
        FOLDER: str(folder),
    }
    return {
        **kept,
        **({} if joins else own),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",  # which would point to a folder of Ray's that is gone when it ends
        "RAY_worker_niceness": "0",  # trainings inherit it
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the run directories hold the curves already
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the sweep's folder is the state, not Ray's notes
    }


def start(folder: Path, ip: str, cpus: int, gpus: int, address: str | None = None) -> tuple[str, str]:
    """Start Ray on this machine's address `ip` with so many of its CPUs and GPUs, or join the cluster at `address`.

    Returns the address of the cluster and the URL of its dashboard, which listens on the loopback address.
    """
    import ray

    with contextlib.chdir(folder):  # Ray's workers would import from the working directory first
        if address:
            context: Any = ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            context = ray.init(
                # In a folder of its own: Ray lets everybody write there.
                address="local", _temp_dir=str(folder / "r"), _node_ip_address=ip, include_dashboard=True,
                dashboard_host="127.0.0.1", log_to_driver=False, logging_level=logging.ERROR, num_cpus=cpus,
                num_gpus=gpus,
            )  # fmt: skip
    return context.address_info["address"], f"http://{context.dashboard_url}" if context.dashboard_url else ""


def join_command(folder: Path, address: str, ip: str, cpus: int, gpus: int) -> list[str]:
    """The command that makes this machine, by its address `ip`, a node of the cluster at `address`, until it ends.

    It takes ports that are free: other clusters may have nodes here.
    """
    program = [sys.executable, "-P", "-c", "from ray.scripts.scripts import main; main()", "start", "--block"]
    where = [f"--address={address}", f"--node-ip-address={ip}", f"--temp-dir={folder / 'r'}"]
    ports = [f"--{name}=0" for name in ("dashboard-agent-listen-port", "min-worker-port", "max-worker-port")]
    return [*program, *where, *ports, f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
