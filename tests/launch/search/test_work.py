"""A worker of a search from its first run to the end, in this process; its trainings are made up."""

import errno
import sys

import pytest
import yaml

from artnet import search_log
from launch.cluster import rank
from launch.cluster.job_array import Array
from launch.cluster.stop import SIGNALS, StopRelay
from launch.host.signals import handled
from launch.search import work
from launch.search.spec import Spec
from launch.search.starts import Starts
from launch.sweep.folder import note_state
from launch.sweep.state import State
from shards import files
from tests.conftest import ROOT

from . import simulated
from .made_up_training import __file__ as MADE_UP


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """A worker of a search of runs of three epochs, as it starts."""
    monkeypatch.setattr(rank, "training_command", lambda run: [sys.executable, MADE_UP, "--run-dir", str(run.path)])
    monkeypatch.setattr(work, "RETRY_S", 0.01)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("EPOCH_S", "0.05")
    monkeypatch.setenv("RUNGS", "1,2")
    monkeypatch.setattr(rank, "CHECK_EVERY_S", 0.05)
    monkeypatch.chdir(tmp_path)  # it changes the folder
    fixed = {**simulated.FIXED, "train.epochs": 3}
    search = simulated.study(tmp_path, {"trials": 3, "grace_epochs": 1, "reduction_factor": 2}, fixed=fixed)
    Spec.of(search, (), None, ()).write(search.sweep)
    array = Array(
        Array.new_name(search.sweep.folder), "2026-11-25T21:00:00+00:00", [], [], 60, 30, 3, workers=1, process="1"
    )
    file = array.write(search.sweep.folder)

    names = {"JOB_ID": "7", "NTASKS": "1", "JOB_NUM_NODES": "1", "NODEID": "0", "GLOBALID": "0", "LOCALID": "0"}
    for name, value in names.items():
        monkeypatch.setenv(f"SUBMITIT_LOCAL_{name}", value)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)

    def make():
        return search, work.Worker(file, 0, StopRelay())

    with handled(lambda number, frame: None, SIGNALS):  # the relay's handlers end with the test
        yield make


def test_a_worker_trains_judges_and_ends_with_the_best(begin):
    search, worker = begin()
    assert worker.carry_out() == 0
    trials = search.history().trials
    assert [trial.n for trial in trials] == [0, 1, 2]
    assert {trial.folder.state().state for trial in trials} == {"complete", "stopped_early"}
    for trial in trials:
        stopped = trial.folder.state().stopped_epoch
        assert stopped is None or trial.folder.result() is None
        assert len(trial.curve) == (stopped or 3)
    best = yaml.safe_load((search.sweep.folder / "best.yaml").read_text())
    assert best["optim"]["lr"] == search.ranked(trials)[0].values["optim.lr"]
    assert Starts(worker.starts.file).earlier[0]["outcome"] == "done"


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to_for_a_while_loses_no_run(begin, monkeypatch, capsys):
    search, worker = begin()
    mkstemp, calls = files.tempfile.mkstemp, []

    def read_only(*args, **options):
        calls.append(1)
        if 5 < len(calls) < 15:  # after the first claim
            raise OSError(errno.EROFS, "Read-only file system")
        return mkstemp(*args, **options)

    monkeypatch.setattr(files.tempfile, "mkstemp", read_only)
    assert worker.carry_out() == 0
    assert [line.n for line in search_log.read(search.reader.file)] == [0, 1, 2]
    assert all(trial.outcome.value in ("complete", "stopped early") for trial in search.history().trials)
    assert "Read-only file system; waiting until" in capsys.readouterr().out


def test_a_run_that_is_cancelled_is_let_go_and_the_worker_goes_on(begin, monkeypatch):
    search, worker = begin()
    looked = worker._is_to_stop

    def cancel():
        if worker.run.name == search.history().trials[0].folder.name and worker.run.epochs():
            note_state(worker.run, State.CANCELLED, "cancelled by --cancel", cancelled=-1.0)  # by whichever clock
        return looked()

    monkeypatch.setattr(worker, "_is_to_stop", cancel)
    assert worker.carry_out() == 0
    first, *others = search.history().trials
    assert first.folder.state().state == "cancelled"
    assert first.folder.state().job_name is None  # which is what --cancel waits for
    assert first.folder.result() is None
    assert all(trial.outcome.value in ("complete", "stopped early") for trial in others)


def test_a_run_that_fails_again_and_again_ends_and_the_worker_does_not(begin, monkeypatch):
    search, worker = begin()
    good = rank.training_command

    def bad(run):
        first = search.history().trials[0].folder.name
        return [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"] if run.name == first else good(run)

    monkeypatch.setattr(rank, "training_command", bad)
    assert worker.carry_out() == 0
    first, *others = search.history().trials
    assert first.folder.state().state == "failed"
    assert first.folder.state().reason == "killed by SIGKILL, 3 times"
    assert all(trial.outcome.value in ("complete", "stopped early") for trial in others)


def test_a_worker_that_was_lost_too_often_ends_and_leaves_its_run_to_others(begin):
    search, worker = begin()
    run = worker._claim()
    for _ in range(4):
        Starts(worker.starts.file).note(run="another", attempts_before=0)
    _, again = begin()
    assert again.carry_out() == 0
    assert search.history().open[0].folder.name == run.name
    assert run.state().job_name is None
