"""An engine per run: whichever door is asked, a run is shown, cancelled and left by the engine that it belongs to."""

import subprocess
import time

import pytest

from launch.cluster import queue
from launch.sweep.folder import note_state
from launch.sweep.state import State

from .tiny_grid import DOORS

JOB = {"launcher": "slurm", "job": "7_0", "job_name": "artnet-tiny-1", "position": 0}


@pytest.fixture
def on_slurm(tiny, fake_slurm):
    """A run that SLURM trains, and one that nobody has started."""
    running, planned = tiny.plan(seeds=2)
    note_state(running, State.RUNNING, **JOB)
    fake_slurm.add("7_0", "artnet-tiny-1")
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
def test_any_door_ends_a_process_of_this_machine_by_a_signal(tiny, fake_slurm, capsys, door, launcher):
    run, *_ = tiny.plan(seeds=1)
    note_state(run, State.RUNNING, launcher=launcher)
    training = subprocess.Popen(["python3", "-c", HELD, str(run.path), "artnet.train"], stdout=subprocess.PIPE)
    assert training.stdout.readline() == b"held\n"
    assert tiny.call(door, "--cancel", "--yes") == 0
    assert training.wait(timeout=60) == 0
    assert "cancelled 1" in capsys.readouterr().out
    assert not fake_slurm.cancelled.exists()
    assert run.state().state == "cancelled"


# Holds the run's lock as a training does, notes itself, and ends when it is asked to.
HELD = """
import fcntl, json, os, signal, socket, sys
folder = sys.argv[1]
lock = open(f"{folder}/.lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
with open(f"{folder}/run.json", "w") as file:
    json.dump({"attempts": [{"pid": os.getpid(), "host": socket.gethostname()}]}, file)
print("held", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("door", ["local", "tune"])
def test_a_door_starts_nothing_that_another_engine_holds_alive_and_names_it(trainable, fake_slurm, capsys, door):
    run, *_ = trainable.plan(seeds=1)
    note_state(run, State.RUNNING, **JOB)
    fake_slurm.add("7_0", "artnet-tiny-1")
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
