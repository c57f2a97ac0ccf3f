"""Runs on this machine: nothing is trained twice, and no end goes unnoticed."""

import csv
import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from artnet.rundir import EXIT_STOPPED
from launch.host import gpu_locks
from launch.host.gpu_locks import GpuLocks
from launch.host.signals import STOP
from launch.host.slots import Slot
from launch.machine import backend, pool
from launch.sweep.folder import note_state
from launch.sweep.state import State
from shards.locks import LockError
from tests.conftest import ROOT


def test_a_grid_ends_in_results_and_a_second_launch_trains_nothing(trainable, capsys):
    trainable.write(seeds=1, include=[{"optim.warmup": 999, "optim.warmup_unit": "steps"}])  # longer than the run
    ended = trainable.fork("local")
    assert ended.wait() == 1, ended.stderr
    assert "2 runs" in ended.stdout
    good, bad = trainable.folders
    result = good.result_file.stat().st_mtime_ns
    assert good.state().state == "complete"
    assert (good.attempts / "001" / "stdout").read_text()
    for name in ("grid.yaml", "results.csv", "results.md", "report.html"):
        assert (trainable.sweep.folder / name).stat().st_size

    # A run that fails is a row, which says why and waits for --retry.
    assert bad.state().state == "failed"
    assert "optim.warmup 999 steps" in bad.state().reason
    with (trainable.sweep.folder / "results.csv").open() as file:
        rows = {row["run"]: row["state"] for row in csv.DictReader(file)}
    assert rows == {good.name: "complete", bad.name: "failed"}

    assert trainable.call("local") == 1
    assert "1 complete, 1 failed (--retry resumes it)" in capsys.readouterr().out
    assert result == good.result_file.stat().st_mtime_ns
    assert not any((run.attempts / "002").exists() for run in (good, bad))
    retried = trainable.fork("local", "--retry")
    assert retried.wait() == 1, retried.stderr
    assert "1 to resume, 1 complete" in retried.stdout
    assert (bad.attempts / "002").exists()
    assert not (good.attempts / "002").exists()


@pytest.mark.slow
def test_a_launch_killed_with_everything_goes_on_where_it_was(trainable):
    trainable.write(seeds=1, fixed={"train.epochs": 3})
    process = trainable.fork("local")
    while not any((run.checkpoints / "last.pt").exists() for run in trainable.folders):
        assert process.returncode is None
        time.sleep(0.02)
    (run,) = trainable.folders
    process.kill()
    os.kill(run.run()["attempts"][0]["pid"], signal.SIGKILL)
    process.wait()
    while run.is_locked():  # until the training is gone too
        time.sleep(0.02)
    ended = trainable.fork("local")
    assert ended.wait() == 0, ended.stderr
    assert "1 to resume" in ended.stdout
    assert run.result()
    assert [attempt["from_step"] > 0 for attempt in run.run()["attempts"]] == [False, True]
    assert [folder.name for folder in sorted(run.attempts.iterdir())] == ["001", "002"]


@pytest.mark.slow
def test_a_launcher_killed_alone_leaves_its_runs_to_the_next_one(trainable):
    trainable.write(seeds=1)
    process = trainable.fork("local")
    while not any(run.is_locked() for run in trainable.folders):
        assert process.returncode is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    ended = trainable.fork("local")
    assert ended.wait() == 0, ended.stderr
    assert "still running since an earlier launch" in ended.stderr
    (run,) = trainable.folders
    assert len(run.run()["attempts"]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_stopping_a_launch_stops_its_runs_at_a_step(trainable, number):
    trainable.write(seeds=2, fixed={"train.epochs": 1000}, local={"max_parallel": 1})
    process = trainable.fork("local")
    while not any(run.metrics() for run in trainable.folders):
        assert process.returncode is None
        time.sleep(0.02)
    process.kill(number)
    assert process.wait() == EXIT_STOPPED
    assert "run the same command again" in process.stderr
    first, second = trainable.folders
    assert (first.checkpoints / "last.pt").exists()
    assert (first.state().state, second.state().state) == ("interrupted", "")


@pytest.mark.slow
def test_runs_of_a_launcher_at_work_are_cancelled_and_stay_so(trainable, capsys):
    trainable.write(seeds=2, fixed={"train.epochs": 1000}, local={"max_parallel": 1})
    launcher = trainable.fork("local")
    while not any(run.metrics() for run in trainable.folders):
        assert launcher.returncode is None
        time.sleep(0.02)
    assert trainable.call("local", "--cancel", "--yes") == 0
    assert "cancelled 2" in capsys.readouterr().out
    assert launcher.wait() == 1
    first, second = trainable.folders
    assert [folder.state().state for folder in (first, second)] == ["cancelled", "cancelled"]
    assert (first.checkpoints / "last.pt").exists()


@pytest.mark.slow
def test_a_run_whose_folder_is_deleted_before_it_begins_is_left_out(trainable):
    trainable.write(seeds=2, fixed={"train.epochs": 3}, local={"max_parallel": 1})
    launcher = trainable.fork("local")
    while not any(run.metrics() for run in trainable.folders):
        assert launcher.returncode is None
        time.sleep(0.02)
    first, second = trainable.folders
    shutil.rmtree(second.path)
    assert launcher.wait() == 1
    assert f"{second.name}: its folder was deleted before it began" in launcher.stderr
    assert first.result()
    assert not second.path.exists()


@pytest.mark.slow
def test_two_processes_train_one_run_of_a_grid(trainable):
    trainable.write(seeds=1, local={"processes": 2})
    ended = trainable.launch("local", WORLD_SIZE="2", RANK="0", MASTER_PORT="1", PET_NNODES="2")  # of another job
    assert ended.returncode == 0, ended.stderr
    assert trainable.folders[0].run()["attempts"][0]["world_size"] == 2


def test_more_ranks_than_gpus_are_refused_before_anything_starts(trainable, monkeypatch, capsys):
    trainable.write(local={"processes": 4})
    monkeypatch.setattr(backend, "visible_gpus", lambda: ["0", "1"])
    assert trainable.call("local") == 2
    assert "grid.yaml:18: local.processes 4 needs 4 GPUs" in capsys.readouterr().err
    assert trainable.call("local", "--processes", "8", "--dry-run") == 2
    assert "--processes: local.processes 8 needs 8 GPUs" in capsys.readouterr().err
    monkeypatch.setattr(backend, "visible_gpus", lambda: ["MIG-a", "MIG-b"])
    assert trainable.call("local", "--processes", "2") == 2
    assert "one MIG slice only" in capsys.readouterr().err
    assert not any(run.attempts.exists() for run in trainable.folders)


def test_a_dry_run_names_the_option_that_comes_too_late_for_a_run_at_work(trainable, capsys):
    run, _ = trainable.plan(seeds=2)
    note_state(run, State.RUNNING, launcher="local", slot=0)
    late = "--processes: without effect on 1 run running already"
    with run.locked():
        assert trainable.call("local", "--dry-run", "--processes", "2") == 0
        assert late in capsys.readouterr().out
        assert trainable.call("local", "--dry-run", "--max-parallel", "2") == 0
        assert "without effect" not in capsys.readouterr().out
    assert trainable.call("local", "--dry-run", "--processes", "2") == 0
    assert "without effect" not in capsys.readouterr().out


def test_runs_share_a_gpu_only_if_they_are_of_one_process(trainable, capsys):
    trainable.write(local={"processes": 2, "runs_per_gpu": 3})
    assert trainable.call("local", "--dry-run") == 2
    assert "grid.yaml:19: local.runs_per_gpu is for runs of one process" in capsys.readouterr().err


# Instead of a training: notes its GPU, and whether another launcher could put a run there.
ON_GPU = """
import os
from launch.host.gpu_locks import GpuLocks
gpu = os.environ["CUDA_VISIBLE_DEVICES"]
print(gpu, "free" if GpuLocks().claim([gpu], "") else "held", GpuLocks().user(gpu))
"""


@pytest.fixture
def gpus(tmp_path, monkeypatch):
    """Two GPUs, the first of which another launcher uses. Returns the lock of that one."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(gpu_locks.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(pool, "training_command", lambda *_: [sys.executable, "-c", ON_GPU])
    monkeypatch.setattr(backend, "visible_gpus", lambda: ["0", "1"])
    monkeypatch.setattr(backend, "slots", lambda gpus, *_: [Slot((gpu,), frozenset(), 1) for gpu in gpus])
    (lock,) = GpuLocks().claim(["0"], "runs/other")
    return lock


def test_runs_take_the_gpus_that_no_other_launcher_uses(trainable, gpus, capfd):
    trainable.write(seeds=3)
    assert trainable.call("local") == 1
    for run in trainable.folders:
        assert (run.attempts / "001" / "stdout").read_text() == f"1 held {run.path}\n"
    assert capfd.readouterr().err.count("GPU 0: in use by another launcher (runs/other); no run starts there") == 1


def test_a_launch_waits_for_a_gpu_of_another_launcher(trainable, gpus, monkeypatch, capfd):
    trainable.write(seeds=1)
    monkeypatch.setattr(backend, "visible_gpus", lambda: ["0"])
    said, sleep = [], time.sleep

    def release(seconds):
        if not said:
            said.append(capfd.readouterr().err)
            os.close(gpus)
        sleep(seconds)

    monkeypatch.setattr(pool.time, "sleep", release)
    assert trainable.call("local") == 1
    (run,) = trainable.folders
    assert "GPU 0: in use by another launcher (runs/other)" in said[0]
    assert (run.attempts / "001" / "stdout").read_text() == f"0 held {run.path}\n"


def test_without_locks_a_launch_says_so_and_goes_on(trainable, gpus, monkeypatch, capfd):
    trainable.write(seeds=1)

    def claim(*_):
        raise LockError(Path("gpu-0.lock"), OSError(errno.ENOLCK, "No locks available"))

    monkeypatch.setattr(GpuLocks, "claim", claim)
    assert trainable.call("local") == 1
    assert "warning: the lock gpu-0.lock cannot be used: No locks available" in capfd.readouterr().err
    assert (trainable.folders[0].attempts / "001" / "stdout").read_text().startswith("0 ")


def test_signals_are_handled_as_before_once_the_runs_have_ended(trainable, monkeypatch):
    trainable.write(seeds=1)
    before = [signal.getsignal(number) for number in STOP]
    during = []
    monkeypatch.setattr(pool.Pool, "carry_out", lambda *_: during.extend(map(signal.getsignal, STOP)))
    monkeypatch.setattr(backend, "visible_gpus", list)
    trainable.call("local")
    assert during
    assert during != before
    assert [signal.getsignal(number) for number in STOP] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_launcher_that_waits_for_others_stops_on_request(trainable, number):
    run, *_ = trainable.plan(seeds=1)
    note_state(run, State.RUNNING, launcher="local", slot=0)
    with trainable.sweep.locked("local", wait=False):
        waiting = trainable.fork("local")
        while "waiting for it to end" not in waiting.stderr:
            assert waiting.returncode is None
            time.sleep(0.02)
        waiting.kill(number)
        assert waiting.wait() in (-number, 130)
    with run.locked():
        waiting = trainable.fork("local")
        while "still running since an earlier launch (process " not in waiting.stderr:
            assert waiting.returncode is None
            time.sleep(0.02)
        waiting.kill(number)
        assert waiting.wait() == EXIT_STOPPED
    assert run.state().state == "running"
