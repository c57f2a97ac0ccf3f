"""launch/: what a launcher finds decides what it does, nothing is trained twice, and no end goes unseen."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from artnet.config import build, unflatten
from artnet.rundir import EXIT_STOPPED, RunDir
from launch import local
from launch.grid import Run
from launch.sweep import folder as rundir
from launch.sweep import plan
from launch.sweep.state import ENDED_BADLY, LIVE, State, after_exit, on_this_machine
from tests.conftest import ROOT, TINY, python


@pytest.fixture
def grid_yaml(tmp_path, shards):
    """Write a grid of two tiny runs, with some blocks changed."""

    def write(**blocks: object) -> Path:
        grid = {
            "name": "tiny",
            "fixed": {**TINY, "data.shards": str(shards)},
            "parameters": {"seed": [0, 1]},
            "local": {"max_parallel": 2},
            **blocks,
        }
        file = tmp_path / "grid.yaml"
        file.write_text(yaml.safe_dump(grid, sort_keys=False))
        return file

    return write


def launch(door: str, grid: Path, *options: object) -> subprocess.CompletedProcess[str]:
    return python(f"launch/{door}.py", "--grid", grid, "--runs", grid.parent / "runs", *options)


def runs_of(grid: Path) -> list[RunDir]:
    sweep = grid.parent / "runs" / "tiny"
    return [RunDir(sweep / run["name"]) for run in json.loads((sweep / "manifest.json").read_text())["runs"]]


def test_a_grid_ends_in_results_and_a_second_launch_trains_nothing(grid_yaml):
    grid = grid_yaml()
    ended = launch("local", grid)
    assert ended.returncode == 0, ended.stderr
    assert "2 runs" in ended.stdout
    runs = runs_of(grid)
    results = {run.name: run.result_file.stat().st_mtime_ns for run in runs}
    assert [run.state()["state"] for run in runs] == ["complete", "complete"]
    assert all((run.attempts / "001" / "stdout").read_text() for run in runs)
    for name in ("grid.yaml", "results.csv", "results.md", "report.html"):
        assert (grid.parent / "runs" / "tiny" / name).stat().st_size
    again = launch("local", grid)
    assert again.returncode == 0
    assert "2 complete" in again.stdout
    assert results == {run.name: run.result_file.stat().st_mtime_ns for run in runs}
    assert not any((run.attempts / "002").exists() for run in runs)


def test_a_launch_killed_with_everything_goes_on_where_it_was(grid_yaml):
    grid = grid_yaml(fixed={**yaml.safe_load(grid_yaml().read_text())["fixed"], "train.epochs": 3})
    command = [sys.executable, "launch/local.py", "--grid", grid, "--runs", grid.parent / "runs"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = "*/checkpoints/last.pt"
    while len(list((grid.parent / "runs" / "tiny").glob(last))) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    pids = [run.run()["attempts"][0]["pid"] for run in runs_of(grid)]
    for pid in (process.pid, *pids):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    ended = launch("local", grid)
    assert ended.returncode == 0, ended.stderr
    assert "2 to resume" in ended.stdout
    for run in runs_of(grid):
        assert run.result()
        assert [attempt["from_step"] > 0 for attempt in run.run()["attempts"]] == [False, True]


def test_a_launcher_killed_alone_leaves_its_runs_to_the_next_one(grid_yaml):
    grid = grid_yaml()
    command = [sys.executable, "launch/local.py", "--grid", grid, "--runs", grid.parent / "runs"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (grid.parent / "runs/tiny/manifest.json").exists() or not all(run.is_locked() for run in runs_of(grid)):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    ended = launch("local", grid)
    assert ended.returncode == 0, ended.stderr
    assert "still running since an earlier launch" in ended.stderr
    assert [len(run.run()["attempts"]) for run in runs_of(grid)] == [1, 1]


def test_stopping_a_launch_stops_its_runs_at_a_step(grid_yaml):
    grid = grid_yaml(fixed={**yaml.safe_load(grid_yaml().read_text())["fixed"], "train.epochs": 1000})
    command = [sys.executable, "launch/local.py", "--grid", grid, "--runs", grid.parent / "runs"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (grid.parent / "runs/tiny/manifest.json").exists() or not all(run.metrics() for run in runs_of(grid)):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == EXIT_STOPPED
    assert "run the same command again" in said
    assert all((run.checkpoints / "last.pt").exists() for run in runs_of(grid))
    assert [run.state()["state"] for run in runs_of(grid)] == ["interrupted"] * 2


def test_a_run_that_fails_is_a_row_and_waits_for_retry(grid_yaml):
    grid = grid_yaml(include=[{"train.batch_size": 5000}])
    ended = launch("local", grid)
    assert ended.returncode == 1
    runs = runs_of(grid)
    assert runs[2].state()["state"] == "failed"
    assert "train.batch_size 5000" in runs[2].state()["reason"]
    with (grid.parent / "runs" / "tiny" / "results.csv").open() as file:
        rows = {row["run"]: row["state"] for row in csv.DictReader(file)}
    assert rows == {runs[0].name: "complete", runs[1].name: "complete", runs[2].name: "failed"}
    again = launch("local", grid)
    assert "1 failed" in again.stdout
    assert not (runs[2].attempts / "002").exists()
    assert launch("local", grid, "--retry").returncode == 1
    assert (runs[2].attempts / "002").exists()


def test_exit_code_zero_without_a_result_is_a_failure():
    assert after_exit(0, "", "")[0] is State.FAILED
    assert after_exit(75, "", "")[0] is State.INTERRUPTED
    assert after_exit(-signal.SIGKILL, "", "") == (State.INTERRUPTED, "killed by SIGKILL")
    assert after_exit(128 + signal.SIGTERM, "", "")[0] is State.INTERRUPTED
    assert after_exit(-signal.SIGSEGV, "", "")[0] is State.FAILED
    assert after_exit(1, "failed: OutOfMemoryError: CUDA out of memory", "")[0] is State.OUT_OF_MEMORY
    assert after_exit(2, "", "data is gone") == (State.FAILED, "data is gone")


def test_what_is_found_on_this_machine():
    assert on_this_machine(True, False, "failed") is State.COMPLETE
    assert on_this_machine(False, False, "complete") is State.FAILED
    assert on_this_machine(False, True, "") is State.RUNNING
    assert on_this_machine(False, False, "running") is State.INTERRUPTED
    assert on_this_machine(False, False, "") is State.PLANNED


def test_a_run_that_slurm_has_is_left_to_it(tmp_path):
    folder = RunDir(tmp_path / "run")
    for state in ("submitting", "pending", "running"):
        rundir.note_state(folder, State(state), launcher="slurm", job="7")
        assert rundir.find_run(folder, "signature").state is State(state)


def test_the_plan_starts_what_is_missing_and_leaves_what_lives_or_failed():
    run = Run(build(unflatten(TINY)), {})

    def action(state: State, retry: bool) -> plan.Action:
        return plan.decide([run], {run.config.name: plan.Found(state)}, plan.Policy(retry=retry))[0].action

    for state in State:
        started = {State.PLANNED: plan.Action.START, State.INTERRUPTED: plan.Action.RESUME}.get(
            state, plan.Action.LEAVE
        )
        assert action(state, retry=False) is started
        assert action(state, retry=True) is (plan.Action.RESUME if state in ENDED_BADLY else started)
    assert not LIVE & ENDED_BADLY


def test_each_run_gets_its_own_gpus_and_its_share_of_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(local, "cores", lambda: 8)
    places = local.slots(local.LocalBlock(processes=2, max_parallel=9), ["4", "5", "6", "7"])
    assert places.parallel == 2
    assert [places.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in (0, 1)] == ["4,5", "6,7"]
    assert places.environment(0)["OMP_NUM_THREADS"] == "2"
    assert local.slots(local.LocalBlock(), []).parallel == 1


def test_two_processes_train_one_run_of_a_grid(grid_yaml):
    grid = grid_yaml(parameters={"seed": [0]}, local={"processes": 2})
    ended = launch("local", grid)
    assert ended.returncode == 0, ended.stderr
    assert runs_of(grid)[0].run()["attempts"][0]["world_size"] == 2


@pytest.mark.parametrize(
    ("door", "blocks", "options", "said"),
    [
        ("local", {"local": {"max_paralel": 2}}, (), "grid.yaml:18: unknown key 'max_paralel'"),
        ("local", {"local": {"max_parallel": 0}}, (), "grid.yaml:18: local.max_parallel"),
        ("local", {}, ("--max-parallel", "0"), "--max-parallel: local.max_parallel"),
        ("local", {}, ("--data", "/nowhere"), "/nowhere holds no index.parquet"),
        ("local", {"parameters": {"optim.lr": {"uniform": [0.1, 0.2]}}}, (), "launch/tune.py"),
        ("slurm", {}, (), "launch/local.py"),
        ("slurm", {"slurm": {"time": 28800}}, ("--dry-run",), "in quotes"),
        ("slurm", {"slurm": {"overrides": [{"when": {"model.depth": 1}, "nodes": 2}]}}, ("--dry-run",), "model.depth"),
        ("tune", {"tune": {"samples": 0}}, (), "tune.samples"),
        ("tune", {"metric": {"name": "val/genre/top1"}}, (), "no run reports 'val/genre/top1'"),
        ("local", {"env_from": ["NOT_SET_ANYWHERE"]}, (), "NOT_SET_ANYWHERE is not set"),
    ],
)
def test_wrong_input_ends_in_one_sentence_and_starts_nothing(grid_yaml, monkeypatch, door, blocks, options, said):
    if door == "slurm" and not options and shutil.which("sbatch"):
        monkeypatch.setenv("PATH", "/nowhere")
    grid = grid_yaml(**blocks)
    ended = launch(door, grid, *options)
    assert ended.returncode == 2
    assert said in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert not (grid.parent / "runs").exists()


def test_data_that_changed_under_a_sweep_is_noticed(grid_yaml, shards, tmp_path):
    grid = grid_yaml()
    assert launch("local", grid, "--only", "seed=0").returncode == 0
    run = runs_of(grid)[0]
    record = run.run()
    record["data"]["fingerprint"] = "another"
    run.run_file.write_text(json.dumps(record))
    ended = launch("local", grid)
    assert ended.returncode == 2
    assert "was trained on other data" in ended.stderr


def test_a_search_runs_under_ray_reports_each_epoch_and_saves_the_best(grid_yaml, shards):
    # A relative path, as in sweeps/search.yaml: Ray's workers start in a folder of their own.
    fixed = {**TINY, "data.shards": os.path.relpath(shards, ROOT), "train.epochs": 2}
    grid = grid_yaml(
        parameters={"optim.lr": {"loguniform": [0.01, 0.2]}, "augment.policy": {"choice": ["none", "trivial"]}},
        fixed={key: value for key, value in fixed.items() if key != "augment.policy"},
        tune={"samples": 2, "max_parallel": 2, "reduction_factor": 2},
    )
    ended = launch("tune", grid)
    assert ended.returncode == 0, ended.stderr
    assert "dashboard: http://127.0.0.1" in ended.stderr
    sweep = grid.parent / "runs" / "tiny"
    runs = runs_of(grid)
    complete = [run for run in runs if run.result()]
    assert complete
    for run in runs:
        reported = [line for line in ended.stderr.splitlines() if line.startswith(run.name)]
        assert len(reported) == len(run.epochs())
        assert run.state()["state"] == "complete" if run in complete else "ASHA" in run.state()["reason"]
    best = yaml.safe_load((sweep / "best.yaml").read_text())
    tops = {run.config().optim.lr: max(epoch["val/top1"] for epoch in run.epochs()) for run in complete}
    assert best["optim"]["lr"] == max(tops, key=tops.__getitem__)
    again = launch("tune", grid)
    assert again.returncode == 0
    assert "dashboard" not in again.stderr
