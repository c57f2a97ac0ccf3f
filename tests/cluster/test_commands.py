"""The commands on a real cluster: what is submitted, shown, followed and cancelled is what SLURM has."""

import os
import shutil
import time
from pathlib import Path

import pytest

ENDLESS = {"slurm": {"time": "1:00:00"}, "fixed": {"train.epochs": 1000}}


@pytest.fixture
def command(sweep):
    """A grid of runs that end only when they are stopped."""
    return sweep(seeds=3, **ENDLESS)


def wait_until(true, what: str) -> None:
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within 2 minutes: {what}")


def test_a_grid_is_limited_shown_cut_pruned_and_started_from_scratch(command):
    submitted = command.submit("--limit", "2")
    assert submitted.returncode == 0, submitted.stderr
    assert "2 to start, 1 left for later by --limit" in submitted.stdout
    first, second, third = command.runs
    assert not third.state().state
    jobs = [folder.state().job for folder in (first, second)]
    assert set(jobs) <= command.queue()
    wait_until(lambda: first.metrics(), "the first run trains")

    shown = command.submit("--status", "--id", first.name)
    assert shown.returncode == 0, shown.stderr
    row = next(line for line in shown.stdout.splitlines() if line.startswith(first.name))
    assert "running" in row
    assert "1/1000" in row or "/1000" in row

    cancelled = command.submit("--cancel", "--id", first.name, "--yes")
    assert cancelled.returncode == 0, cancelled.stderr
    assert first.state().state == "cancelled"
    assert jobs[0] not in command.queue()
    assert jobs[1] in command.queue()  # another element of the same array

    command.write(1, **ENDLESS)
    assert second.name in command.submit("--dry-run").stdout
    pruned = command.submit("--prune", "--yes")
    assert pruned.returncode == 1, pruned.stderr  # the cancelled one waits for --retry
    assert second.config_file.exists()
    assert not command.queue() & set(jobs)
    assert second.name not in command.submit("--dry-run").stdout

    command.write(1, slurm={"time": "1:00:00", "partition": "main"}, fixed=ENDLESS["fixed"])
    assert command.submit("--force").returncode == 2
    replaced = command.submit("--force", "--yes")
    assert replaced.returncode == 0, replaced.stderr
    assert (command.folder / "replaced" / f"{first.name}.1" / "metrics.jsonl").exists()
    assert first.state().job in command.queue()
    assert first.state().job not in jobs
    again = command.submit("--force", "--yes")  # also while it is pending or runs
    assert again.returncode == 0, again.stderr
    assert len(command.queue() & {first.state().job}) == 1
    assert command.submit("--cancel", "--yes").returncode == 0


def test_following_a_log_ends_with_the_run_and_watching_with_all_of_them(command):
    command.write(1, slurm=ENDLESS["slurm"])
    assert command.submit().returncode == 0
    (run,) = command.runs
    followed = command.submit("--logs", run.config().signature[:8], "-f")
    assert followed.returncode == 0, followed.stderr
    assert "test top-1" in followed.stdout
    watched = command.submit("--watch", "1")
    assert watched.returncode == 0, watched.stderr
    assert "1 complete" in watched.stdout
    assert command.submit("--collect").returncode == 0
    assert "complete" in (command.folder / "results.csv").read_text()


def test_a_job_that_never_trained_shows_its_own_log(command):
    command.write(1, slurm={"setup": ["echo the module is missing", "exit 3"]})
    assert command.submit().returncode == 0
    (run,) = command.runs
    wait_until(lambda: run.state().job not in command.queue(), "the job ends")
    told = command.submit("--logs", run.name)
    assert "the module is missing" in told.stdout, told.stderr
    assert "FAILED (exit code 3:0), the module is missing" in command.submit("--status").stdout


def test_a_silent_controller_makes_unknown_and_nothing_is_cancelled(command, tmp_path):
    assert command.submit("--only", "seed=0").returncode == 0
    run = command.runs[0]
    broken = tmp_path / "slurm.conf"
    broken.write_text(Path(os.environ["SLURM_CONF"]).read_text().replace("SlurmctldPort=", "SlurmctldPort=1"))
    asked = command.submit("--cancel", "--yes", SLURM_CONF=str(broken))
    assert asked.returncode == 2
    assert "nothing was cancelled" in asked.stderr
    assert run.state().state != "cancelled"
    assert command.submit("--cancel", "--yes").returncode == 0


def test_status_asks_the_scheduler_no_more_than_three_times(command, tmp_path):
    command.write(4, **ENDLESS)
    assert command.submit().returncode == 0
    called = tmp_path / "called"
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("squeue", "sacct", "scontrol", "sinfo", "sacctmgr"):
        if real := shutil.which(name):
            (tools / name).write_text(f'#!/bin/sh\necho {name} >>"{called}"\nexec {real} "$@"\n')
            (tools / name).chmod(0o755)
    assert command.submit("--status", PATH=f"{tools}:{os.environ['PATH']}").returncode == 0
    assert len(called.read_text().split() if called.exists() else []) <= 3
    assert command.submit("--cancel", "--yes").returncode == 0


@pytest.mark.parametrize("door", ["local", "tune"])
def test_another_door_shows_and_cancels_the_job_and_does_not_train_its_run_too(sweep, door):
    tiny = sweep(seeds=1, **ENDLESS)
    assert tiny.submit().returncode == 0
    (run,) = tiny.runs
    wait_until(lambda: run.metrics(), "the run trains")
    job = run.state().job
    assert "1 running" in tiny.launch(door, "--status").stdout
    started = tiny.launch(door, "--force", "--yes")
    assert started.returncode == 2
    assert f"{run.name} is running under launch/slurm.py (job {job}" in started.stderr
    cancelled = tiny.launch(door, "--cancel", "--yes")
    assert "cancelled 1" in cancelled.stdout, cancelled.stderr
    assert job not in tiny.queue()
    assert run.state().state == "cancelled"
    assert (run.checkpoints / "last.pt").exists()
