"""Training on two machines with torchrun alone: two network namespaces, each with its own address and host name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from artnet.rundir import RunDir
from tests.artnet import runs
from tests.artnet.training.conftest import assert_same
from tests.conftest import ROOT, environment

pytestmark = pytest.mark.slow

ADDRESSES = {"a": "192.0.2.1", "b": "192.0.2.2"}
NEVER = "9 9 9 self 0"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[dict[str, list[str]]]:
    """How to run a command on each of two machines that share the file system and a network cable."""
    spaces = {name: f"artnet-{os.getpid()}-{name}" for name in ADDRESSES}
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{ip} machine-{name}\n" for name, ip in ADDRESSES.items()))
    # As on any other machine, its name is that of its address.
    script = 'mount --bind "$1" /etc/hosts && hostname "$2" && shift 2 && exec "$@"'
    enter = ["unshare", "--mount", "--uts", "sh", "-c", script, "sh", str(hosts)]
    commands = {
        name: ["ip", "netns", "exec", space, *enter, f"machine-{name}", sys.executable]
        for name, space in spaces.items()
    }
    try:
        try:
            connect(spaces)
            ip("netns", "exec", spaces["a"], *enter, "machine-a", "true")
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"no network namespaces here, which need root and iproute2: {said.strip()}")
        yield commands
    finally:
        for space in spaces.values():
            subprocess.run(["ip", "netns", "delete", space], capture_output=True)


def connect(spaces: dict[str, str]) -> None:
    """Make the namespaces, and a cable between them."""
    for space in spaces.values():
        ip("netns", "add", space)
    ip("-n", spaces["a"], "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", spaces["b"])
    for name, space in spaces.items():
        ip("-n", space, "addr", "add", f"{ADDRESSES[name]}/24", "dev", "cable")
        for device in ("lo", "cable"):
            ip("-n", space, "link", "set", device, "up")


def train(machines: dict[str, list[str]], arguments: list[str], logs: Path, sent: str) -> tuple[list[int], str]:
    """The same command on both machines, to its end. Returns their exit codes, and all that they said."""
    torchrun = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    torchrun += ["--rdzv-backend=c10d", "--rdzv-endpoint=machine-a:29400", "--rdzv-id=run"]
    files, started = [logs / f"{name}.log" for name in machines], []
    try:
        for machine, file in zip(machines.values(), files, strict=True):
            with file.open("ab") as log:
                command = [*machine, *torchrun, *arguments]
                started.append(subprocess.Popen(command, cwd=ROOT, env=environment(SENT=sent), stdout=log, stderr=log))
        codes = [process.wait(timeout=240) for process in started]
        return codes, "".join(file.read_text() for file in files)
    finally:
        for process in started:
            process.kill()


def test_two_machines_train_as_two_ranks_of_one_do_and_go_on_after_a_rank_has_died(machines, config, whole, tmp_path):
    run = RunDir(tmp_path / "run")
    arguments = ["-m", "tests.artnet.runs", *runs.arguments(config, run.path)]
    codes, said = train(machines, arguments, tmp_path, sent="0 1 12 self 9")  # on the second machine, after step 12
    assert all(codes), said
    assert "error: run: another rank has ended; check its log for the reason, and start the run again" in said
    codes, said = train(machines, arguments, tmp_path, sent=NEVER)
    assert codes == [0, 0], said
    first, second = run.run()["attempts"]
    assert (first["outcome"][:21], second["outcome"]) == ("failed: PeerGoneError", "complete")
    assert (second["from_step"] > 0, second["world_size"]) == (True, 2)
    assert_same(run.path, whole(2))
