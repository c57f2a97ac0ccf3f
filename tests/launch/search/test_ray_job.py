"""A search as one job of SLURM, as seen from outside of it: no job is needed for that."""

import os

import pytest

from launch.search import submission
from launch.search.allocation import Allocation
from launch.search.block import TuneBlock
from launch.search.ray_head import Head
from launch.search.ray_job import RayJob
from launch.search.share import Share, share
from launch.sweep.folder import note_state
from launch.sweep.state import State
from shards.errors import UserError
from tests.users import MALLORY, needs_root

from ..tiny_grid import DOORS, complete

NAME = "artnet-tiny-00000001"
TOKEN = "0123456789abcdef"  # noqa: S105


@pytest.fixture
def searched(tiny):
    """The runs of a search whose job was submitted: one that trains, one that waits, and one that is complete."""
    runs = tiny.plan(seeds=3)
    RayJob(name=NAME, submitted="2026-01-02T03:04:05+00:00", signal_s=120, requeue=3, id="7").write(tiny.sweep)
    for run, state in zip(runs, (State.RUNNING, State.PENDING, State.COMPLETE), strict=True):
        note_state(run, state, launcher="tune")
    complete(runs[2])
    return runs


@pytest.mark.parametrize("door", DOORS)
def test_every_door_shows_a_searchs_job_and_what_it_goes_on_with(tiny, searched, fake_slurm, capsys, door):
    fake_slurm.add("7", NAME, node="node[1-2]")
    Head(restart=0, node="node1", address="a:1", token=TOKEN, dashboard="http://127.0.0.1:8265").write(
        tiny.sweep.folder / "ray" / "7.json"
    )
    assert tiny.call(door, "--status") == 0
    shown = capsys.readouterr().out
    assert "1 pending, 1 running, 1 complete" in shown
    assert "job 7 (running on node[1-2]) of the search" in shown
    assert "-L 8265:127.0.0.1:8265" in shown and f"its token: in {tiny.sweep.folder}/ray/7.json" in shown
    assert TOKEN not in shown


@pytest.mark.parametrize("open_runs", [0, 2])
def test_cancelling_a_search_ends_its_job_also_where_no_run_is_known_that_waits(
    tiny, searched, fake_slurm, capsys, open_runs
):
    fake_slurm.add("7", NAME, word="PENDING", node="")
    for run in searched[open_runs:2]:
        complete(run)
    assert tiny.call("tune", "--cancel", "--yes") == 0
    assert fake_slurm.cancelled.read_text() == "7\n"
    said = capsys.readouterr().out
    assert "ended job 7 (pending) of the search" in said
    assert (f"cancelled {open_runs}" in said) == bool(open_runs)
    assert [run.state().state for run in searched[:open_runs]] == ["cancelled"] * open_runs


@pytest.mark.parametrize("more", [(), ("--slurm", "nodes=2")])
def test_a_search_that_is_at_work_in_a_job_is_not_started_again(tiny, searched, fake_slurm, capsys, more):
    fake_slurm.add("7", NAME, word="PENDING", node="")
    assert tiny.call("tune", *more) == 2
    assert "the search is at work as job 7 (pending); --status shows it, --cancel ends it" in capsys.readouterr().err


def test_when_slurm_knows_no_such_job_its_runs_are_interrupted(tiny, searched, fake_slurm, capsys):
    tiny.call("tune", "--status")
    assert "2 interrupted, 1 complete" in capsys.readouterr().out


@pytest.mark.parametrize("door", DOORS)
def test_files_of_jobs_that_have_ended_are_cleaned_but_for_the_last_log(tiny, searched, fake_slurm, capsys, door):
    folder = tiny.sweep.folder / "ray"
    names = ["6.json", "6.log", "7.json", "7.log", "mine.log", "search.json", "search.sh"]
    for name in names[:5] + names[6:]:
        (folder / name).write_text("x")
    fake_slurm.add("7", NAME, node="node1")
    assert tiny.call(door, "--clean", "--yes") == 0
    assert {*names} <= {file.name for file in folder.iterdir()}
    fake_slurm.add("7", NAME, word="COMPLETED", node="node1")
    assert tiny.call(door, "--clean", "--yes") == 0
    assert "files of jobs with Ray that have ended" in capsys.readouterr().out
    assert {file.name for file in folder.iterdir()} & {*names} == {"7.log", "mine.log", "search.json"}


def test_what_another_start_or_another_user_has_left_is_not_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    here = Allocation.here(tmp_path)
    assert here.file == tmp_path / "7.json"
    Head(restart=0, address="a:1", token=TOKEN).write(here.file)
    assert here.file.stat().st_mode & 0o777 == 0o600
    assert here.head() is None
    Head(restart=1, address="a:2", token=TOKEN).write(here.file)
    assert here.head() == Head(restart=1, address="a:2", token=TOKEN)


@needs_root
def test_a_file_of_another_user_is_not_joined(tmp_path):
    file = tmp_path / "7.json"
    Head(restart=0, address="a:1", token=TOKEN).write(file)
    assert Head.read(file)
    os.chown(file, MALLORY, MALLORY)
    assert Head.read(file) is None


def test_keys_of_slurm_on_the_command_line():
    given = submission.read(["nodes=4,time=8:00:00", "partition=a,b"])
    assert given == {"nodes": 4, "time": "8:00:00", "partition": "a,b"}
    for wrong, said in (
        ("nodes", "write KEY=VALUE"),
        ("nodes=four", "nodes is a whole number"),
        ("node=4", "did you mean 'nodes'?"),
        ("overrides=1", "unknown key 'overrides'"),
    ):
        with pytest.raises(UserError, match="--slurm") as refused:
            submission.read([wrong])
        assert said in str(refused.value)


def test_the_share_of_a_run_on_several_nodes():
    assert share(TuneBlock(), 4, 0, nodes=3) == Share(1, 0, 12)
    assert share(TuneBlock(), 8, 4, nodes=2) == Share(2, 1, 8)
    assert share(TuneBlock(max_parallel=3), 8, 4, nodes=2) == Share(4, 1, 3)


def test_runs_are_bound_to_cpus_only_where_all_of_them_are_the_jobs(monkeypatch):
    monkeypatch.setattr("launch.search.share.own_cpus", lambda: {0: (0, 0, 0), 1: (0, 0, 1)})
    assert Share(1, 0).parts() == [[0], [1]]
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert Share(1, 0).parts() == [[0], [1]]
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert Share(1, 0).parts() == []
