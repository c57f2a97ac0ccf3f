"""The cluster for these tests: they skip, in one line, where there is none."""

import functools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artnet.rundir import RunDir
from tests.launch.tiny_grid import TinyGrid

HERE = Path(__file__).resolve().parent


@functools.cache
def answers() -> bool:
    """Whether there is a SLURM whose controller answers."""
    if not shutil.which("sbatch"):
        return False
    try:
        ping = subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return " UP" in ping.stdout


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a cluster all of these tests are skipped as one, which says why."""
    ours = [item for item in items if HERE in item.path.parents]
    if ours and not answers():
        ours[0].add_marker(pytest.mark.skip(reason="no SLURM cluster answers; `make test-slurm` brings one up"))
        config.hook.pytest_deselected(items=ours[1:])
        items[:] = [item for item in items if item not in ours[1:]]


class SlurmGrid(TinyGrid):
    """A tiny grid, launched by `launch/slurm.py` with programs put before the real ones on PATH."""

    def __init__(self, folder: Path, shards: str, programs: Path) -> None:
        super().__init__(folder, shards)
        self.programs = programs
        self.environment: dict[str, str] = {}

    @property
    def folder(self) -> Path:
        return self.sweep.folder

    @property
    def runs(self) -> list[RunDir]:
        return self.folders

    @property
    def arrays(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text()) for file in sorted((self.folder / "slurm").glob("artnet-*.json"))]

    def submit(self, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """`launch/slurm.py` on the grid."""
        variables = {"PATH": f"{self.programs}:{os.environ['PATH']}", **self.environment, **variables}
        return self.launch("slurm", *options, **variables)

    def queue(self) -> set[str]:
        """The ids of all jobs in the queue."""
        command = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())

    def wrap(self, program: str, script: str) -> None:
        """Put a shell script before a program; in it, $REAL is the program. What only tests a submission passes."""
        file = self.programs / program
        passes = 'case "$*" in *--test-only*) exec "$REAL" "$@";; esac'
        file.write_text(f'#!/bin/bash\nREAL="{shutil.which(program)}"\n{passes}\n{script}\n')
        file.chmod(0o755)

    def wait(self, done: Callable[[RunDir], object], timeout_s: float = 150) -> None:
        """Until this holds for every run."""
        until = time.monotonic() + timeout_s
        while not all(done(run) for run in self.runs):
            assert time.monotonic() < until, self.story()
            time.sleep(0.2)

    def story(self) -> str:
        """What there is to read when something went wrong."""
        queue = subprocess.run(["squeue", "--states=all"], capture_output=True, text=True).stdout
        states = "\n".join(f"{run.name} {run.state()} {run.run().get('attempts')}" for run in self.runs)
        logs = "\n".join(file.read_text() for file in (self.folder / "slurm").glob("*.log"))
        return f"{queue}\n{states}\n{logs}"


@pytest.fixture
def sweep(tmp_path: Path, shards: Path) -> Iterator[Callable[..., SlurmGrid]]:
    """Write a grid of tiny runs, one for each of `seeds`; its jobs are cancelled when the test ends."""
    made: list[SlurmGrid] = []

    def make(seeds: int = 1, slurm: dict[str, object] | None = None, within: str = ".", **blocks: object) -> SlurmGrid:
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        tiny = SlurmGrid(tmp_path / within, str(shards), programs)
        tiny.write(seeds, slurm={"time": "0:10:00", **(slurm or {})}, **blocks)
        made.append(tiny)
        return tiny

    yield make
    for tiny in made:
        names = ",".join(array["name"] for array in tiny.arrays)
        if names:
            subprocess.run(["scancel", "--full", "--signal=KILL", f"--name={names}"], capture_output=True)
            subprocess.run(["scancel", f"--name={names}"], capture_output=True)
