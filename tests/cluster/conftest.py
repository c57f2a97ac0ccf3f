"""The cluster for these tests: they skip, in one line, where there is none."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from artnet.rundir import RunDir
from tests.conftest import ROOT, TINY

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


@dataclass
class Sweep:
    """A grid file and the sweep that the launcher makes of it, with programs put before the real ones on PATH."""

    grid: Path
    programs: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.grid.parent / "runs" / "tiny"

    @property
    def runs(self) -> list[RunDir]:
        names = [run["name"] for run in json.loads((self.folder / "manifest.json").read_text())["runs"]]
        return [RunDir(self.folder / name) for name in names]

    @property
    def arrays(self) -> list[dict[str, Any]]:
        return [json.loads(file.read_text()) for file in sorted((self.folder / "slurm").glob("artnet-*.json"))]

    def launch(self, *options: object) -> subprocess.CompletedProcess[str]:
        """`launch/slurm.py` on the grid."""
        command = [sys.executable, "launch/slurm.py", "--grid", self.grid, "--runs", self.grid.parent / "runs"]
        return subprocess.run(
            [*map(str, command), *map(str, options)],
            cwd=ROOT,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PATH": f"{self.programs}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                **self.environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
        )

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
def sweep(tmp_path: Path, shards: Path):
    """Write a grid of tiny runs, one for each of `seeds`; its jobs are cancelled when the test ends."""
    made: list[Sweep] = []

    def make(seeds: int = 1, slurm: dict[str, object] | None = None, within: str = ".", **blocks: object) -> Sweep:
        fixed = {**TINY, "data.shards": str(shards), **dict(blocks.pop("fixed", {}))}
        grid = {
            "name": "tiny",
            "fixed": fixed,
            "parameters": {"seed": list(range(seeds))},
            "slurm": {"time": "0:10:00", **(slurm or {})},
            **blocks,
        }
        file = tmp_path / within / "grid.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(yaml.safe_dump(grid, sort_keys=False))
        programs = tmp_path / "bin"
        programs.mkdir(exist_ok=True)
        made.append(Sweep(file, programs))
        return made[-1]

    yield make
    for each in made:
        names = ",".join(array["name"] for array in each.arrays)
        if names:
            subprocess.run(["scancel", "--full", "--signal=KILL", f"--name={names}"], capture_output=True)
            subprocess.run(["scancel", f"--name={names}"], capture_output=True)
