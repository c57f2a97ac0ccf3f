"""The state of a run by its folder alone."""

import os
import shutil

import pytest

from artnet.rundir import RunDir, RunState
from launch.cluster import executor, local
from launch.cluster.resources import Resources
from launch.sweep.attempt import TrainingProcess, attempt_folder
from launch.sweep.folder import find_run, note_state
from launch.sweep.state import Found, State
from shards.errors import UserError
from shards.locks import LockError


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "result.json is missing"), ("{}", "result.json is not valid, or of another run")],
)
def test_a_lost_result_is_the_reason_why_a_run_is_no_longer_complete(tmp_path, content, reason):
    run = RunDir(tmp_path)
    RunState(state="complete", launcher="local", reason="of before").write(run.state_file)
    if content is not None:
        run.result_file.write_text(content)
    assert find_run(run, "signature") == Found(State.FAILED, reason)


def test_who_holds_a_sweep_or_a_run_is_named(tiny):
    run, *_ = tiny.plan(seeds=1)
    who = rf"\(process {os.getpid()} of \w+: .*\)"
    with tiny.sweep.locked("local", wait=False), run.locked():
        with pytest.raises(UserError, match=rf"another launcher is at work on .* {who}; wait for it or stop it"):
            tiny.sweep.locked("local", wait=False).__enter__()
        with pytest.raises(UserError, match=rf"is being trained by another process {who}; wait for it"):
            run.locked().__enter__()


def test_a_folder_that_was_deleted_is_not_made_again(tiny):
    run, *_ = tiny.plan(seeds=1)
    note_state(run, State.RUNNING, launcher="local")
    shutil.rmtree(run.path)
    note_state(run, State.FAILED, "why")
    with pytest.raises(UserError, match=f"{run.name} was deleted; launch the grid again"):
        attempt_folder(run, 1)
    assert not run.path.exists()
    assert tiny.call("local", "--status") == 0


@pytest.mark.parametrize("plant", ["link", "dangling", "pipe"])
def test_nothing_is_written_through_what_lies_in_the_place_of_a_log(tiny, tmp_path, plant):
    run, *_ = tiny.plan(seeds=1)
    logs, foreign = attempt_folder(run, 1), tmp_path / "bashrc"
    if plant == "link":
        foreign.write_text("mine\n")

    def put(file):
        os.mkfifo(file) if plant == "pipe" else file.symlink_to(foreign)
        return file

    for stdout, stderr in ((put(logs / "stdout"), logs / "err"), (logs / "out", put(logs / "stderr"))):
        with pytest.raises(UserError, match=r"std\w+ is a link or a pipe, to which nothing is written; remove it"):
            TrainingProcess.start(run, ["echo", "attack"], stdout, stderr, {})
    jobs = tiny.sweep.folder / "slurm"
    jobs.mkdir()
    put(jobs / "artnet-tiny-00000000.log")
    with pytest.raises(UserError, match="is a link or a pipe"):
        local.start(jobs / "artnet-tiny-00000000.json", tmp_path, Resources(), 1)
    if plant != "pipe":
        put(tiny.sweep.lock)
        with pytest.raises(LockError), tiny.sweep.locked("attack", wait=False):
            pass
    assert foreign.read_text() == "mine\n" if plant == "link" else not foreign.exists()


def test_a_script_replaces_a_link_in_its_place(tmp_path, monkeypatch):
    foreign = tmp_path / "bashrc"
    foreign.write_text("mine\n")
    script = tmp_path / "slurm" / "report.sh"
    script.parent.mkdir()
    script.symlink_to(foreign)
    monkeypatch.setattr(executor.SlurmArrayExecutor, "affinity", classmethod(lambda cls: 2))
    monkeypatch.setattr(executor, "run", lambda *command: "Submitted batch job 7\n")
    jobs = executor.SlurmArrayExecutor(script.parent)
    jobs.update_parameters(time=5, array_parallelism=4, signal_delay_s=30)
    assert jobs.submit_report(tmp_path, tmp_path) == "7"
    assert foreign.read_text() == "mine\n"
    assert not script.is_symlink()
    assert "launch.cluster.finish" in script.read_text()
