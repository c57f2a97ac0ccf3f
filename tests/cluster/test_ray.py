"""A search as one job with Ray on its nodes, each of which has an address and a loopback of its own."""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import SlurmGrid

SPACE = {"optim.lr": {"loguniform": [0.01, 0.2]}, "data.sampler": {"choice": ["shuffle", "class_balanced"]}}
UP_S = 400.0  # for Ray to be up on all nodes: 21 on two cores, minutes where many others compute
LIMIT_S = 600.0
# Ray as somebody else starts it: on the default ports.
RAY = f"{sys.executable} -c 'from ray.scripts.scripts import main; main()'"
STRANGER = f"{RAY} start --head --block --num-cpus=1 --disable-usage-stats"


class RaySearch:
    """A search of a tiny grid that is submitted with `--slurm`."""

    def __init__(self, tiny: SlurmGrid) -> None:
        self.tiny = tiny
        self.folder = tiny.folder / "ray"

    def call(self, *options: object) -> subprocess.CompletedProcess[str]:
        return self.tiny.launch("tune", *options, **self.tiny.environment)

    @property
    def job(self) -> str:
        """Its job, if it is in the queue."""
        name = json.loads((self.folder / "search.json").read_text())["name"]
        command = ["squeue", "--noheader", "--me", f"--name={name}", "--format=%i"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    @property
    def log(self) -> str:
        return "".join(file.read_text() for file in self.folder.glob("*.log"))

    def wait_for(self, what: Callable[[], object], limit_s: float = LIMIT_S) -> float:
        """Wait until something is true. Returns the seconds that it took."""
        began = time.monotonic()
        while not what():
            assert time.monotonic() - began < limit_s, self.log
            time.sleep(0.2)
        return time.monotonic() - began

    def hosts(self) -> set[str]:
        """The nodes on which runs have closed an epoch."""
        return {str(run.run()["attempts"][-1]["host"]) for run in self.tiny.runs if run.epochs()}

    def starts(self) -> int:
        """How many times Ray was up on two nodes."""
        return self.log.count("Ray: 2 of 2 nodes")


@pytest.fixture
def search(sweep: Callable[..., SlurmGrid]) -> Iterator[Callable[..., RaySearch]]:
    """Write the grid of a search; its job is cancelled when the test ends."""
    made: list[RaySearch] = []

    def make(**blocks: object) -> RaySearch:
        made.append(RaySearch(sweep(parameters=SPACE, **blocks)))
        return made[-1]

    yield make
    for one in made:
        with contextlib.suppress(OSError):
            subprocess.run(["scancel", one.job], capture_output=True)


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[str]:
    """The job of somebody else's Ray on the first node."""
    log = tmp_path / "stranger.log"
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # short: sockets lie in it
        wrap = f"--wrap=until {STRANGER} --temp-dir={folder}; do sleep 1; done"  # a busy machine is too slow for Ray
        command = ["sbatch", "--parsable", "--nodelist=node1", "--export=ALL", f"--output={log}", wrap]
        job = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        try:
            until = time.monotonic() + UP_S
            while not log.exists() or "Ray runtime started" not in log.read_text():
                assert time.monotonic() < until, log
                time.sleep(0.2)
            yield job
        finally:
            subprocess.run(["scancel", job], check=True)


def test_trials_on_two_nodes_go_on_after_a_requeue_beside_a_strangers_ray(search, stranger):
    one = search(
        fixed={"train.epochs": 3, "train.checkpoint_minutes": 0.01},
        tune={"trials": 2, "scheduler": "none"},
        slurm={"time": "1:00:00", "sbatch": {"nodelist": "node[1-2]"}},
    )
    one.tiny.environment["RAY_ADDRESS"] = "node1:6379"
    submitted = one.call("--slurm", "nodes=2")
    assert submitted.returncode == 0, submitted.stderr
    job = one.job
    assert f"submitted the search as job {job}; its log: {one.folder / f'{job}.log'}" in submitted.stdout
    again = one.call("--slurm", "nodes=2")
    assert again.returncode == 2 and f"at work as job {job}" in again.stderr
    one.wait_for(lambda: one.log)
    print(f"Ray is up {one.wait_for(lambda: one.starts() == 1, UP_S):.0f} s after the job's first line")
    head = one.folder / f"{job}.json"
    assert head.stat().st_mode & 0o777 == 0o600
    published = json.loads(head.read_text())
    assert published["node"] == "node1" and published["address"].startswith("10.231.")
    one.wait_for(lambda: one.hosts() == {"node1", "node2"})
    shown = one.call("--status").stdout
    assert f"job {job} (running on node[1-2]) of the search" in shown and "2 running" in shown
    assert "ssh -L" in shown and published["token"] not in shown
    subprocess.run(["scontrol", "requeue", job], check=True)
    print(f"Ray is up again {one.wait_for(lambda: one.starts() == 2, LIMIT_S):.0f} s after the requeue")
    assert json.loads(head.read_text())["token"] != published["token"]
    one.wait_for(lambda: not one.job)
    for run in one.tiny.runs:
        assert [line["epoch"] for line in run.epochs()] == [1, 2, 3], one.log
        assert run.result() and run.run()["attempts"][-1]["from_step"] > 0
    assert "best: " in one.log
    assert not json.loads(head.read_text())["token"]
    running = subprocess.run(
        ["squeue", "--noheader", f"--jobs={stranger}", "--states=R"], capture_output=True, text=True
    )
    assert stranger in running.stdout
