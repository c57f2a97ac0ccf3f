"""The verbs on a real cluster: what is submitted, shown, followed and cancelled is what SLURM has."""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from artnet.rundir import RunDir
from tests.conftest import TINY, python


class Command:
    """A grid of tiny runs that end only when they are stopped, and the command on it."""

    def __init__(self, folder: Path, shards: Path) -> None:
        self.file, self.runs, self.shards = folder / "grid.yaml", folder / "runs", shards
        self.write([0, 1, 2])

    def write(self, seeds: list[int], epochs: int = 1000, **slurm: object) -> None:
        values = {
            "name": "tiny",
            "fixed": {**TINY, "data.shards": str(self.shards), "train.epochs": epochs},
            "parameters": {"seed": seeds},
            "slurm": {"time": "1:00:00", **slurm},
        }
        self.file.write_text(yaml.safe_dump(values, sort_keys=False))

    def call(self, *options: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return python("launch/slurm.py", "--grid", self.file, "--runs", self.runs, *options, **environment)

    def folders(self) -> list[RunDir]:
        manifest = json.loads((self.runs / "tiny" / "manifest.json").read_text())
        return [RunDir(self.runs / "tiny" / run["name"]) for run in manifest["runs"]]

    def queue(self) -> set[str]:
        command = ["squeue", "--noheader", "--array", "--me", "--format=%i"]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.fixture
def command(tmp_path, shards):
    place = Command(tmp_path, shards)
    before = place.queue()
    yield place
    if left := place.queue() - before:
        subprocess.run(["scancel", *left], check=True)


def wait_until(true, what: str) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within 2 minutes: {what}")


def test_a_grid_is_limited_shown_cut_pruned_and_started_afresh(command):
    submitted = command.call("--limit", "2")
    assert submitted.returncode == 0, submitted.stderr
    assert "2 to start, 1 left for later by --limit" in submitted.stdout
    first, second, third = command.folders()
    assert not third.state()
    jobs = [folder.state()["job"] for folder in (first, second)]
    assert set(jobs) <= command.queue()
    wait_until(lambda: first.metrics(), "the first run trains")

    shown = command.call("--status", "--id", first.name)
    assert shown.returncode == 0, shown.stderr
    row = next(line for line in shown.stdout.splitlines() if line.startswith(first.name))
    assert "running" in row
    assert "1/1000" in row or "/1000" in row

    cancelled = command.call("--cancel", "--id", first.name, "--yes")
    assert cancelled.returncode == 0, cancelled.stderr
    assert first.state()["state"] == "cancelled"
    assert jobs[0] not in command.queue()
    assert jobs[1] in command.queue()  # another element of the same array

    command.write([0])
    assert second.name in command.call("--dry-run").stdout
    pruned = command.call("--prune", "--yes")
    assert pruned.returncode == 1, pruned.stderr  # the cancelled one waits for --retry
    assert second.config_file.exists()
    assert not command.queue() & set(jobs)
    assert second.name not in command.call("--dry-run").stdout

    command.write([0], partition="main")
    assert command.call("--force").returncode == 2
    afresh = command.call("--force", "--yes")
    assert afresh.returncode == 0, afresh.stderr
    assert (command.runs / "tiny" / "replaced" / f"{first.name}.1" / "metrics.jsonl").exists()
    assert first.state()["job"] in command.queue()
    assert first.state()["job"] not in jobs
    again = command.call("--force", "--yes")  # also while it is pending or runs
    assert again.returncode == 0, again.stderr
    assert len(command.queue() & {first.state()["job"]}) == 1
    assert command.call("--cancel", "--yes").returncode == 0


def test_following_a_log_ends_with_the_run_and_watching_with_all_of_them(command):
    command.write([0], epochs=1)
    assert command.call().returncode == 0
    (run,) = command.folders()
    followed = command.call("--logs", run.config().signature[:8], "-f")
    assert followed.returncode == 0, followed.stderr
    assert "test top-1" in followed.stdout
    watched = command.call("--watch", "1")
    assert watched.returncode == 0, watched.stderr
    assert "1 complete" in watched.stdout
    assert command.call("--collect").returncode == 0
    assert "complete" in (command.runs / "tiny" / "results.csv").read_text()


def test_a_job_that_never_trained_shows_its_own_log(command):
    command.write([0], setup=["echo the module is missing", "exit 3"])
    assert command.call().returncode == 0
    (run,) = command.folders()
    wait_until(lambda: run.state()["job"] not in command.queue(), "the job ends")
    told = command.call("--logs", run.name)
    assert "the module is missing" in told.stdout, told.stderr
    assert "FAILED (exit code 3:0), the module is missing" in command.call("--status").stdout


def test_a_silent_controller_makes_unknown_and_nothing_is_cancelled(command, tmp_path):
    assert command.call("--only", "seed=0").returncode == 0
    run = command.folders()[0]
    broken = tmp_path / "slurm.conf"
    broken.write_text(Path(os.environ["SLURM_CONF"]).read_text().replace("SlurmctldPort=", "SlurmctldPort=1"))
    asked = command.call("--cancel", "--yes", SLURM_CONF=str(broken))
    assert asked.returncode == 2
    assert "nothing was cancelled" in asked.stderr
    assert run.state()["state"] != "cancelled"
    assert command.call("--cancel", "--yes").returncode == 0


def test_status_asks_the_scheduler_no_more_than_three_times(command, tmp_path):
    command.write(list(range(4)))
    assert command.call().returncode == 0
    called = tmp_path / "called"
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("squeue", "sacct", "scontrol", "sinfo", "sacctmgr"):
        if real := shutil.which(name):
            (tools / name).write_text(f'#!/bin/sh\necho {name} >>"{called}"\nexec {real} "$@"\n')
            (tools / name).chmod(0o755)
    assert command.call("--status", PATH=f"{tools}:{os.environ['PATH']}").returncode == 0
    assert len(called.read_text().split() if called.exists() else []) <= 3
    assert command.call("--cancel", "--yes").returncode == 0
