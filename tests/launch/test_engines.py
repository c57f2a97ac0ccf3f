"""An engine per run: whichever door is asked, a run is shown, cancelled and left by the engine that it belongs to."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from artnet.provenance import process_start
from artnet.rundir import RunDir, write_json
from launch.cluster import queue
from launch.sweep import attempt
from launch.sweep.attempt import training_process
from launch.sweep.folder import note_state
from launch.sweep.state import State

from .tiny_grid import DOORS

JOB = {"launcher": "slurm", "job": "7_0", "job_name": "artnet-tiny-00000001", "position": 0}


@pytest.fixture
def on_slurm(tiny, fake_slurm):
    """A run that SLURM trains, and one that nobody has started."""
    running, planned = tiny.plan(seeds=2)
    note_state(running, State.RUNNING, **JOB)
    fake_slurm.add("7_0", "artnet-tiny-00000001")
    return running, planned


@pytest.mark.parametrize("door", DOORS)
def test_any_door_shows_the_run_of_another_engine(tiny, on_slurm, capsys, door):
    assert tiny.call(door, "--status") == 0
    shown = capsys.readouterr().out
    assert "running  node1" in shown
    assert "1 planned, 1 running" in shown


def test_status_says_how_old_a_cached_answer_of_slurm_is(tiny, on_slurm, monkeypatch, capsys):
    now = time.time()
    monkeypatch.setattr(queue.time, "time", lambda: now)
    for age_s, shown in ((0, ""), (12, " (SLURM as of 12 s ago)"), (31, "")):
        monkeypatch.setattr(queue.time, "time", lambda age_s=age_s: now + age_s)
        assert tiny.call("slurm", "--status") == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"tiny: 2 runs: 1 planned, 1 running{shown}"
    # Where a watch prints lines, one that only grows old is not printed again.
    moments = iter((now + 40, now + 41, now + 42))
    monkeypatch.setattr(queue.time, "time", lambda: moment)

    def later(_: float) -> None:
        nonlocal moment
        moment = next(moments, None) or on_slurm[0].state_file.unlink() or now

    moment = next(moments)
    monkeypatch.setattr(queue.time, "sleep", later)
    assert tiny.call("slurm", "--watch", "1") == 0
    shown = ["tiny: 2 runs: 1 planned, 1 running (SLURM as of 9 s ago)", "tiny: 2 runs: 2 planned"]
    assert capsys.readouterr().out.splitlines() == shown


@pytest.mark.parametrize("door", DOORS)
def test_any_door_cancels_a_job_by_scancel(tiny, on_slurm, fake_slurm, capsys, door):
    assert tiny.call(door, "--cancel", "--yes") == 0
    assert "cancelled 1" in capsys.readouterr().out
    assert fake_slurm.cancelled.read_text() == "7_[0]\n"
    assert on_slurm[0].state().state == "cancelled"
    assert on_slurm[1].state().state == ""


@pytest.mark.parametrize("launcher", ["local", "tune"])
@pytest.mark.parametrize("door", DOORS)
def test_any_door_ends_a_process_of_this_machine_by_a_signal(tiny, fake_slurm, tmp_path, capsys, door, launcher):
    run, *_ = tiny.plan(seeds=1)
    note_state(run, State.RUNNING, launcher=launcher)
    training = hold(tmp_path, run)
    assert tiny.call(door, "--cancel", "--yes") == 0
    assert training.wait(timeout=60) == 0
    assert "cancelled 1" in capsys.readouterr().out
    assert not fake_slurm.cancelled.exists()
    assert run.state().state == "cancelled"


def test_a_process_is_ended_only_if_its_start_its_arguments_and_its_user_are_those_of_the_training(
    tiny, tmp_path, monkeypatch
):
    run, other = tiny.plan(seeds=2)
    training = hold(tmp_path, run)
    assert training_process(run) == training.pid
    assert training_process(other) is None
    recorded = run.run()
    write_json(other.run_file, recorded)  # says that another run's process is its own
    assert training_process(other) is None

    words = ["-m", "artnet.train", "--config", str(run.config_file), "--run-dir", str(run.path)]
    (tmp_path / "thesis.py").write_text("input()")
    for first in (["-c", "input()", *words], ["-m", "thesis", *words[2:]], [tmp_path / "thesis.py", *words]):
        variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
        stranger = subprocess.Popen([sys.executable, *first], stdin=subprocess.PIPE, env=variables)
        write_json(run.run_file, {"attempts": [{**recorded["attempts"][0], **identity(stranger.pid)}]})
        assert training_process(run) is None
        stranger.communicate(b"\n")
    for wrong in (
        {"host": "another"},
        *({"pid": pid} for pid in (str(training.pid), -training.pid, 0, -1, True, None)),
    ):
        write_json(run.run_file, {"attempts": [{**recorded["attempts"][0], **wrong}]})
        assert training_process(run) is None

    write_json(run.run_file, {"attempts": [{**recorded["attempts"][0], "process_start": "1"}]})  # its id is reused
    assert training_process(run) is None
    write_json(run.run_file, recorded)
    monkeypatch.setattr(attempt.os, "getuid", lambda: 12345)
    assert training_process(run) is None
    training.kill()
    training.wait()


@pytest.mark.parametrize("name", ["my-thesis-job", "artnet-tiny-00000001x", "artnet-other-00000001", "x,my-thesis-job"])
def test_a_job_whose_name_is_not_of_this_sweep_is_never_cancelled(tiny, fake_slurm, capsys, name):
    run, _ = tiny.plan(seeds=2)
    note_state(run, State.RUNNING, **{**JOB, "job_name": name})
    fake_slurm.add("7_0", name)
    assert tiny.call("slurm", "--status") == 0
    assert f"state.json names a job of something else, '{name}'" in capsys.readouterr().out
    assert tiny.call("slurm", "--cancel", "--yes") == 0
    assert not fake_slurm.cancelled.exists()
    assert run.state().state == "cancelled"


def identity(process: int) -> dict[str, object]:
    """What an attempt records of its process."""
    return {"pid": process, "process_start": process_start(process)}


def hold(folder: Path, run: RunDir) -> subprocess.Popen[bytes]:
    """A process with the arguments of a training, which holds a run as one does."""
    package = folder / "held" / "artnet"
    package.mkdir(parents=True)
    (package / "train.py").write_text(HELD)
    command = [sys.executable, "-P", "-m", "artnet.train", "--config", run.config_file, "--run-dir", run.path]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": package.parent}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    attempt = {**identity(process.pid), "host": socket.gethostname()}
    write_json(run.run_file, {"attempts": [attempt]})
    return process


# Holds the run's lock as a training does, and ends when it is asked to.
HELD = """
import fcntl, os, signal, sys
folder = sys.argv[4]
lock = open(f"{folder}/.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("held", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("door", ["local", "tune"])
def test_a_door_starts_nothing_that_another_engine_holds_alive_and_names_it(trainable, fake_slurm, capsys, door):
    run, *_ = trainable.plan(seeds=1)
    note_state(run, State.RUNNING, **JOB)
    fake_slurm.add("7_0", "artnet-tiny-00000001")
    trainable.call(door)
    assert f"launch/slurm.py holds {run.name} alive" in capsys.readouterr().err
    assert trainable.call(door, "--force", "--yes") == 2
    assert f"{run.name} is running under launch/slurm.py (job 7_0 on node1)" in capsys.readouterr().err
    assert not run.attempts.exists()
    assert not fake_slurm.cancelled.exists()


def test_a_run_that_was_cancelled_goes_to_the_next_engine_without_its_old_job(tiny, on_slurm):
    run, _ = on_slurm
    note_state(run, State.RUNNING, launcher="local", slot=0)
    state = run.state()
    assert (state.launcher, state.slot, state.job, state.job_name, state.position) == ("local", 0, None, None, None)


def test_where_slurm_is_silent_its_runs_are_unknown_and_others_are_not(tiny, on_slurm, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    assert tiny.call("local", "--status") == 0
    said = capsys.readouterr()
    assert "1 planned, 1 unknown" in said.out
    assert "warning: SLURM does not answer" in said.err
    assert tiny.call("local", "--cancel", "--yes") == 2
    assert "nothing was cancelled" in capsys.readouterr().err
