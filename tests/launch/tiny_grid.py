"""A grid of tiny runs in a folder, and the sweep that the launchers make of it: for all tests of launch/."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock

import yaml

from artnet.rundir import RunDir
from launch import local, slurm, tune
from launch.grid import Run, expand, load
from launch.sweep.attempt import training_process
from launch.sweep.folder import SweepDir
from tests.conftest import ROOT, TINY, environment

from .run_files import complete as complete
from .run_files import log_epoch as log_epoch

_CONTEXT = multiprocessing.get_context("forkserver")

DOORS = {"slurm": slurm, "local": local, "tune": tune}


class TinyGrid:
    """`grid.yaml` in a folder, with runs that differ in the seed, and `runs/tiny` beside it."""

    def __init__(self, folder: Path, shards: str = "/nowhere") -> None:
        self.file = folder / "grid.yaml"
        self.root = folder / "runs"
        self.sweep = SweepDir(self.root / "tiny")
        self._shards = shards
        self._launchers: list[Launcher] = []

    def write(self, seeds: int = 2, fixed: dict[str, object] | None = None, **blocks: object) -> None:
        """Write the file, some blocks of it changed."""
        grid = {
            "name": "tiny",
            "fixed": {**TINY, "data.shards": self._shards, **(fixed or {})},
            "parameters": {"seed": list(range(seeds))},
            "local": {"max_parallel": seeds},
            **blocks,
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(yaml.safe_dump(grid, sort_keys=False))

    def expand(self) -> list[Run]:
        """The runs that the file states."""
        return expand(load(self.file)).runs

    def plan(self, seeds: int = 3, **blocks: object) -> list[RunDir]:
        """Write the file and the sweep's folder, as a launch does that starts nothing. Returns the runs' folders."""
        self.write(seeds, **blocks)
        loaded = load(self.file)
        expansion = expand(loaded)
        self.sweep.commit(loaded, expansion, expansion.runs)
        return [self.sweep.run(run) for run in expansion.runs]

    @property
    def folders(self) -> list[RunDir]:
        """The runs' folders, as the manifest names them; none before there is one."""
        manifest = self.sweep.folder / "manifest.json"
        if not manifest.exists():
            return []
        return [RunDir(self.sweep.folder / run["name"]) for run in json.loads(manifest.read_text())["runs"]]

    def call(self, door: str, *options: object) -> int:
        """A launcher in this process."""
        return DOORS[door].main(["--grid", str(self.file), "--runs", str(self.root), *map(str, options)])

    def command(self, door: str, *options: object) -> list[str]:
        """A launcher as a command."""
        command = [sys.executable, ROOT / "launch" / f"{door}.py", "--grid", self.file, "--runs", self.root, *options]
        return list(map(str, command))

    def launch(self, door: str, *options: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """A launcher as a command, to its end."""
        return subprocess.run(
            self.command(door, *options), cwd=ROOT, env=environment(**variables),
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    def fork(self, door: str, *options: object) -> "Launcher":
        """A launcher as a process of its own, which has imported torch already."""
        self._launchers.append(Launcher(door, self.command(door, *options)[2:], self.file.parent))
        return self._launchers[-1]

    def end(self) -> None:
        """Kill the launchers that a failed test has left, and their trainings."""
        for launcher in self._launchers:
            if launcher.returncode is None:
                launcher.kill()
                for run in self.folders:
                    if (training := training_process(run)) is not None:
                        os.kill(training, signal.SIGKILL)


class Launcher:
    """A launcher at work, in a process forked from one without threads that has imported torch."""

    def __init__(self, door: str, arguments: list[str], folder: Path) -> None:
        self._out, self._err = (Path(tempfile.mkstemp(dir=folder)[1]) for _ in range(2))
        _CONTEXT.set_forkserver_preload(["torch", __name__])
        with mock.patch.dict(os.environ, environment()):
            forkserver.ensure_running()
        given = (door, arguments, self._out, self._err, environment())
        self._process = _CONTEXT.Process(target=_launch, args=given, daemon=True)
        self._process.start()
        self.pid = self._process.pid or 0

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    def wait(self) -> int:
        """Wait for its end. Returns the exit code."""
        self._process.join(300)
        assert self._process.exitcode is not None, self.stderr
        return self._process.exitcode

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()


def _launch(door: str, arguments: list[str], out: Path, err: Path, variables: dict[str, str]) -> None:
    for file, number in ((out, 1), (err, 2)):
        with file.open("ab") as log:
            os.dup2(log.fileno(), number)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(ROOT)
    sys.exit(DOORS[door].main(arguments))
