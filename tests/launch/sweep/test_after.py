"""Runs that wait for another sweep start only when all of its runs are complete, or as jobs that wait for its jobs."""

import pytest

from artnet.rundir import RunDir
from launch.cluster import executor, submit
from launch.cluster.backend import ClusterBackend
from launch.cluster.resources import Resources, SlurmBlock
from launch.grid import load
from launch.machine import MachineBackend
from launch.sweep.after import wait
from launch.sweep.backend import Engines
from launch.sweep.folder import note_state
from launch.sweep.overview import overview
from launch.sweep.plan import Policy, decide
from launch.sweep.state import Found, State

from ..tiny_grid import TinyGrid, complete

ON_SLURM = Engines(ClusterBackend(), (MachineBackend(),))


@pytest.fixture
def earlier(tmp_path) -> TinyGrid:
    """A sweep of three runs, of which one is complete."""
    grid = TinyGrid(tmp_path / "earlier")
    complete(grid.plan(seeds=3)[0])
    return grid


@pytest.mark.parametrize("door", ["local", "tune", "slurm"])
def test_a_door_starts_nothing_before_the_other_sweep_is_complete(trainable, earlier, capsys, door):
    options = ("--cluster", "local") if door == "slurm" else ()
    _, second, third = earlier.folders
    note_state(second, State.FAILED, "why", launcher="local")
    trainable.write(after=str(earlier.sweep.folder))
    said = (
        f"after: 2 of the 3 runs of {earlier.sweep.folder} are not complete (1 failed, 1 planned); "
        f"run python launch/local.py --grid {earlier.file} --retry first"
    )
    assert trainable.call(door, *options) == 2
    assert (ended := capsys.readouterr()).err.startswith(f"error: {trainable.file}:19: {said}")
    assert trainable.call(door, *options, "--dry-run") == 0
    ended = capsys.readouterr()
    assert f"warning: {trainable.file}:19: {said}" in ended.err
    assert "2 to start" in ended.out
    assert not any(folder.attempts.exists() for folder in trainable.folders)
    with third.locked():
        complete(second)
        assert trainable.call(door, *options) == 2
        assert "(1 running); wait until they have ended" in capsys.readouterr().err
    complete(third)
    assert trainable.call(door, *options, "--dry-run") == 0
    assert f"after {earlier.sweep.folder}: its 3 runs are complete" in capsys.readouterr().out


def test_what_needs_no_start_waits_for_nothing(trainable, earlier, capsys):
    trainable.write(seeds=1, after=[str(earlier.sweep.folder)])
    complete(trainable.plan(seeds=1, after=[str(earlier.sweep.folder)])[0])
    assert trainable.call("local") == 0
    assert "after" not in capsys.readouterr().err


def test_after_is_no_part_of_a_runs_signature(tiny, earlier):
    tiny.write()
    before = [run.config.signature for run in tiny.expand()]
    tiny.write(after=str(earlier.sweep.folder))
    assert [run.config.signature for run in tiny.expand()] == before


def test_a_folder_without_runs_or_the_grids_own_is_refused_with_its_line(tiny, capsys, tmp_path):
    tiny.plan()
    for after, said in (
        (str(tmp_path / "none"), f"after: {tmp_path / 'none'} holds no runs; launch its grid first"),
        ([str(tiny.sweep.folder)], "is this grid's own folder"),
        ("$NO_SUCH/x", "the variable $NO_SUCH is not set"),
        ([2024], "the folder of a sweep is wanted, such as runs/pretrain, not 2024"),
    ):
        tiny.write(after=after)
        assert tiny.call("local", "--dry-run") == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.startswith(f"error: {tiny.file}:")


def test_runs_that_asha_stopped_are_not_waited_for(tiny, earlier, tmp_path):
    for folder in earlier.folders[1:]:
        note_state(folder, State.CANCELLED, "stopped by ASHA after epoch 2", launcher="tune")
    tiny.write(after=str(earlier.sweep.folder))
    engines = Engines(MachineBackend(), (SearchLike(),))
    assert wait(load(tiny.file), tiny.sweep, engines).lines == (
        f"after {earlier.sweep.folder}: its 3 runs are complete",
    )


class SearchLike(MachineBackend):
    name = "tune"


def test_on_slurm_jobs_wait_for_the_jobs_of_the_other_sweep(tiny, earlier, fake_slurm, monkeypatch):
    _, second, third = earlier.folders
    job = {"launcher": "slurm", "job_name": "artnet-tiny-00000001"}
    tiny.write(after=str(earlier.sweep.folder))
    grid = load(tiny.file)
    for place, folder in enumerate((second, third)):
        note_state(folder, State.PENDING, job=f"7_{place}", position=place, **job)
    fake_slurm.add("7_0", "artnet-tiny-00000001")
    fake_slurm.add("7_1", "artnet-tiny-00000001", "PENDING", "")
    waited = wait(grid, tiny.sweep, ON_SLURM)
    assert (waited.jobs, waited.problem) == (("7_0", "7_1"), "")
    assert waited.folders == {second.path, third.path}

    asked = []
    monkeypatch.setattr(submit, "max_array_size", lambda: 1000)
    monkeypatch.setattr(executor, "run", lambda *command: asked.append(command) or "Submitted batch job 9\n")
    runs = tiny.expand()
    decisions = decide(runs, {run.config.name: Found(State.PLANNED) for run in runs}, Policy())
    resources = Resources(reservation="mine")
    wanted = {run.config.name: resources for run in runs}
    submit.submit(tiny.sweep, SlurmBlock(), wanted, decisions, tiny.root, after=waited.jobs)
    array, report = asked
    assert {"--dependency=afterok:7_0:7_1", "--kill-on-invalid-dep=yes", "--reservation=mine"} <= set(array)
    assert "--dependency=afterany:9" in report

    # Jobs of this machine cannot wait for SLURM's, and nothing can wait for a run that has no job.
    assert "2 running" not in wait(grid, tiny.sweep, Engines(MachineBackend(), (ClusterBackend(),))).lines
    assert wait(grid, tiny.sweep, Engines(MachineBackend(), (ClusterBackend(),))).problem
    note_state(third, State.FAILED)
    assert "(1 running, 1 failed)" in wait(grid, tiny.sweep, ON_SLURM).problem


def test_a_run_may_start_from_one_that_is_still_to_be_trained_only_if_it_is_waited_for(
    trainable, earlier, fake_slurm, monkeypatch, capsys
):
    second = earlier.folders[1]
    source = {"sweep": str(earlier.sweep.folder), "when": {"seed": 1}}
    second.checkpoints.mkdir()
    (second.checkpoints / "best.pt").touch()
    trainable.write(fixed={"init_from": source})
    assert trainable.call("local", "--dry-run") == 2
    assert f"init_from: {second.path} is not complete; train that run first" in capsys.readouterr().err
    trainable.write(fixed={"init_from": str(second.path)})  # as before: its best epoch so far
    assert trainable.call("local", "--dry-run") == 0
    (second.checkpoints / "best.pt").unlink()
    assert trainable.call("local", "--dry-run") == 2
    trainable.write(fixed={"init_from": source}, after=str(earlier.sweep.folder))
    assert trainable.call("local", "--dry-run") == 0
    by_path = [run.config for run in trainable.expand()]
    assert {config.init_from for config in by_path} == {str(second.path)}

    # Once that is complete, the run that was begun keeps its folder.
    for config in by_path:
        RunDir(trainable.sweep.folder / config.name).write_config(config.with_shards("x"))
    (second.checkpoints / "best.pt").touch()
    complete(second)
    now = [run.config for run in trainable.expand()]
    assert {config.weights_sha256 for config in now} != {None}
    assert trainable.call("local", "--status", "--runs", trainable.root) == 0
    assert by_path[0].name in capsys.readouterr().out


@pytest.mark.parametrize("content", ["a: [", "seed: banana\n", "x: &a [1]\ny: *a\n", "format: 99\n"])
def test_a_run_that_cannot_be_read_is_one_of_the_overview(earlier, content):
    done, broken, planned = earlier.folders
    broken.config_file.write_text(content)
    found = overview(earlier.sweep, lambda sweep, runs: MachineBackend().find(sweep, runs, fresh=False))
    states = [found[folder.path].state for folder in (done, broken, planned)]
    assert states == [State.COMPLETE, State.UNREADABLE, State.PLANNED]
    assert str(broken.config_file) in found[broken.path].reason
