"""A search as one job with Ray on its nodes, each of which has an address and a loopback of its own."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from .conftest import SlurmGrid

SPACE = {"optim.lr": {"loguniform": [0.01, 0.2]}, "data.sampler": {"choice": ["shuffle", "class_balanced"]}}
UP_S = 120.0  # for Ray to be up on all nodes; 21 on two cores
LIMIT_S = 600.0
# Ray as somebody else starts it: on the default ports.
STRANGER = f"{sys.executable} -c 'from ray.scripts.scripts import main; main()' start --head --block --num-cpus=1"


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
def stranger(tmp_path) -> Iterator[Callable[[], str]]:
    """Somebody else's Ray on the first node, and the nodes that it says it has."""
    folder = tmp_path.parent / "ray"  # short: sockets lie in it
    command = ["sbatch", "--parsable", "--nodelist=node1", f"--output={tmp_path}/stranger.log", "--export=ALL"]
    wrap = f"--wrap={STRANGER} --temp-dir=/tmp/artnet-other --disable-usage-stats"
    job = subprocess.run([*command, wrap], capture_output=True, text=True, check=True).stdout.strip()
    log = tmp_path / "stranger.log"
    until = time.monotonic() + UP_S
    while not log.exists() or "Ray runtime started" not in log.read_text():
        assert time.monotonic() < until, folder
        time.sleep(0.2)
    yield job
    subprocess.run(["scancel", job], check=True)
