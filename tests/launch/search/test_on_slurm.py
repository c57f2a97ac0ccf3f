"""What `launch/slurm.py` makes of a search: how many workers it submits, and what these are to do."""

import contextlib

import pytest

from launch.cluster.job_array import Array
from launch.search import on_slurm
from launch.search.spec import Spec
from launch.sweep import folder
from launch.sweep.folder import note_state
from launch.sweep.state import State

SPACE = {"optim.lr": {"loguniform": [0.01, 0.2]}}


@pytest.fixture
def launched(tiny, shards, monkeypatch):
    """Launch a search without SLURM, so often as it is called. Returns how many workers are submitted."""
    tiny._shards = str(shards)
    submitted = []
    monkeypatch.setattr(on_slurm, "submit_workers", lambda *given: submitted.append(given[3]) or given[3])

    def launch(*options):
        submitted.clear()
        assert tiny.call("slurm", "--cluster", "local", "--no-snapshot", *options) in (0, 1)
        return sum(submitted)

    return launch


def write(tiny, trials=6, slurm=None, **tune):
    tiny.write(parameters=SPACE, tune={"trials": trials, "startup": 99, **tune}, slurm=slurm or {})


@pytest.mark.parametrize(
    ("slurm", "tune", "options", "workers"),
    [
        ({}, {}, (), 6),  # no more than there are runs
        ({}, {"trials": 20}, (), on_slurm.WORKERS),
        ({}, {"max_parallel": 2}, (), 2),
        ({"max_parallel": 3}, {"max_parallel": 2}, (), 3),
        ({"max_parallel": 3}, {}, ("--max-parallel", "4"), 4),
        ({}, {}, ("--limit", "2"), 2),
    ],
)
def test_as_many_workers_are_submitted_as_there_is_work_for(tiny, launched, slurm, tune, options, workers):
    write(tiny, slurm=slurm, **tune)
    assert launched(*options) == workers
    assert Spec.read(tiny.sweep).until == (2 if "--limit" in options else None)


def test_workers_at_work_are_not_submitted_again_and_follow_the_launch(tiny, launched, fake_slurm):
    write(tiny, max_parallel=3)
    array = Array(Array.new_name(tiny.sweep.folder), "2026-11-25T21:00:00+00:00", [], [], 60, 30, 3, workers=2)
    array.write(tiny.sweep.folder)
    fake_slurm.add("7_0", array.name)
    fake_slurm.add("7_1", array.name, "PENDING")
    assert launched() == 1
    write(tiny, trials=9, max_parallel=2)
    assert launched() == 0
    assert Spec.read(tiny.sweep).block.trials == 9


def test_a_cancelled_run_waits_for_retry_and_another_selection_is_left_alone(tiny, launched, capsys):
    write(tiny, trials=2)
    launched()
    search = Spec.read(tiny.sweep).study(tiny.sweep)
    first, second = (search.ask(search.history()).folder for _ in range(2))
    note_state(first, State.CANCELLED, "cancelled by --cancel", launcher="slurm", cancelled=4e9, job_name="x")
    note_state(second, State.INTERRUPTED, "stopped on request", launcher="slurm")
    assert launched() == 1
    assert first.state().state == "cancelled"
    assert launched("--retry", "--id", first.name) == 1
    assert (first.state().state, first.state().cancelled, first.state().job_name) == ("interrupted", None, None)
    assert Spec.read(tiny.sweep).held == [second.name]
    assert Spec.read(tiny.sweep).until == 2
    assert launched() == 2
    assert Spec.read(tiny.sweep).held == []


def test_a_launch_waits_for_the_worker_that_asks(tiny, launched, monkeypatch):
    write(tiny)
    patiently = folder.locked_patiently
    with contextlib.ExitStack() as worker:
        worker.enter_context(tiny.sweep.held("slurm", wait_s=1))
        monkeypatch.setattr(folder, "locked_patiently", lambda *given: worker.close() or patiently(*given))
        assert launched() == 6


def test_what_workers_cannot_do_is_one_sentence(tiny, launched, capsys):
    write(tiny, slurm={"overrides": [{"when": {"seed": 0}, "time": "1:00:00"}]})
    assert tiny.call("slurm", "--cluster", "local") == 2
    assert "slurm.overrides: each worker of a search trains any of its runs" in capsys.readouterr().err
    write(tiny)
    assert tiny.call("slurm", "--cluster", "debug") == 2
    assert "--cluster debug: a search has workers" in capsys.readouterr().err


def test_status_and_cancel_know_workers_without_a_run(tiny, launched, fake_slurm, capsys):
    write(tiny)
    launched()
    array = Array(Array.new_name(tiny.sweep.folder), "2026-11-25T21:00:00+00:00", [], [], 60, 30, 3, workers=2)
    array.write(tiny.sweep.folder)
    fake_slurm.add("7_0", array.name)
    fake_slurm.add("7_1", array.name, "PENDING")
    capsys.readouterr()
    for door in ("slurm", "tune"):
        assert tiny.call(door, "--status") == 0
        assert capsys.readouterr().out.splitlines()[-1] == "2 workers: 1 running, 1 pending (job 7_[1])"
    assert tiny.call("slurm", "--cancel", "--yes") == 0
    assert capsys.readouterr().out.splitlines() == ["ended 2 workers: 1 running, 1 pending (job 7_[1])"]
    assert fake_slurm.cancelled.read_text() == "7_[0-1]\n"
