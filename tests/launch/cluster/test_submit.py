"""Jobs submitted without a cluster: arrays, their scripts, and runs as processes of this machine."""

import os
import signal
import subprocess
import time
from pathlib import Path
from unittest import mock

import pytest

from launch.cluster import executor, local, rank, submit
from launch.cluster.executor import SlurmArrayExecutor
from launch.cluster.job_array import Array
from launch.cluster.programs import arrays, scrubbed
from launch.cluster.resources import Resources, SlurmBlock
from launch.sweep.folder import SweepDir
from launch.sweep.plan import Policy, decide
from launch.sweep.state import Found, State
from shards.errors import UserError


def test_groups_are_split_evenly_and_lose_nothing():
    assert [list(part) for part in submit.split(range(3), 2)] == [[0], [1, 2]]
    assert [len(part) for part in submit.split(range(1000), 300)] == [250] * 4
    assert [len(part) for part in submit.split(range(2), 0)] == [1, 1]


def test_arrays_share_the_jobs_that_run_at_a_time():
    assert [submit.share(8, part, 54) for part in (50, 4)] == [7, 1]
    assert [submit.share(room, 3, 3) for room in (256, 2, 0, -4)] == [256, 2, 1, 1]


def test_jobs_of_an_array_are_named_in_few_words():
    jobs = ["7_0", "7_1", "7_2", "7_9", "8", "10_3", "7_1"]
    assert arrays(jobs) == ["7_[0-2,9]", "10_[3]", "8"]


def test_what_a_surrounding_job_has_set_is_not_passed_on(monkeypatch):
    values = {
        "SLURM_CONF": "/etc/c", "SLURM_JOB_ID": "7", "SRUN_DEBUG": "3", "MASTER_PORT": "1", "RANK": "2",
        "SBATCH_ACCOUNT": "art", "SBATCH_JOB_NAME": "mine", "ARTNET_SECRET": "x",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with scrubbed():
        assert {name for name in values if name in os.environ} == {"SLURM_CONF", "ARTNET_SECRET"}
    assert {name: os.environ[name] for name in values} == values


def test_names_with_quotes_and_line_ends_reach_the_shell_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(SlurmArrayExecutor, "affinity", classmethod(lambda cls: 2))
    folder = tmp_path / 'it\'s %j\n"odd"'
    jobs = SlurmArrayExecutor(folder)
    jobs.update_parameters(time=5, array_parallelism=4, signal_delay_s=30, setup=["module load cuda"])
    jobs._count, jobs._code = 2, folder
    command = jobs._make_submission_command(folder / "a.sh")
    assert f"--output={str(folder).replace('%', '%%')}/%A_%a.log" in command
    assert "--array=0-1%2" in command
    text = jobs._make_submission_file_text("true", "").replace("exec srun", 'printf %s "$PYTHONPATH"; :')
    shown = subprocess.run(["bash", "-c", text.replace("module load cuda", ":")], capture_output=True, text=True,
                           env={"PATH": os.environ["PATH"]})  # fmt: skip
    assert shown.stdout == str(folder)


def test_an_array_is_read_as_it_was_written(tmp_path):
    array = Array(Array.new_name(tmp_path / "my sweep"), "2026-11-25T21:00:00+00:00", ["a", "b"], [1, 3], 60, 120, 3)
    file = array.write(tmp_path)
    assert Array.read(file) == array
    assert array.run(file, 1).path == tmp_path / "b"
    assert " " not in array.name


@pytest.mark.slow
def test_without_slurm_a_run_is_trained_in_this_process(trainable, capsys):
    trainable.write(seeds=1)
    ended = trainable.launch("slurm", "--cluster", "debug")
    assert ended.returncode == 0, ended.stderr
    assert "1 to start" in ended.stdout
    (run,) = trainable.folders
    assert run.result()
    assert run.state().state == "complete"
    assert trainable.call("slurm", "--cluster", "debug") == 0
    assert "1 complete" in capsys.readouterr().out


@pytest.mark.slow
def test_a_preempted_job_checkpoints_and_goes_on(trainable, capsys):
    trainable.write(seeds=1, fixed={"train.epochs": 3}, slurm={"wrapper": "env 'INSIDE=a b'"})
    assert trainable.fork("slurm", "--cluster", "local").wait() == 0
    (run,) = trainable.folders
    while len(run.metrics()) < 2:
        assert run.state().state in ("pending", "running")
        time.sleep(0.05)
    assert trainable.call("slurm", "--cluster", "local") == 0
    assert "1 running" in capsys.readouterr().out
    training = run.run()["attempts"][0]["pid"]
    assert b"INSIDE=a b" in Path(f"/proc/{training}/environ").read_bytes().split(b"\0")
    os.kill(int(Path(f"/proc/{training}/stat").read_text().split()[3]), signal.SIGUSR2)  # its parent: the job
    while (state := run.state().state) != "complete":
        assert state in ("running", "requeued")
        time.sleep(0.1)
    attempts = run.run()["attempts"]
    assert [attempt["outcome"] for attempt in attempts] == ["stopped", "complete"]
    assert attempts[1]["from_step"] > 0
    assert '"outcome": "asked to stop"' in (run.attempts / "001" / "job.json").read_text()


def test_cpus_that_each_rank_has_for_itself_are_not_divided_again(monkeypatch):
    monkeypatch.setattr(rank, "cores", lambda: 8)
    assert rank.rank_threads("32", ranks=4) == 8  # each rank is bound to its own
    assert rank.rank_threads("8", ranks=4) == 2
    assert rank.rank_threads("", ranks=4) == 2


@pytest.mark.slow
def test_a_job_of_this_machine_is_the_same_through_another_path_and_frees_the_launchers_output(
    trainable, tmp_path, capsys
):
    trainable.write(seeds=1, fixed={"train.epochs": 1000})
    (tmp_path / "real").mkdir()
    trainable.root.symlink_to("real")
    ended = trainable.launch("slurm", "--cluster", "local")  # to the end of its output
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        "tiny: 1 run", "1 to start", "submitted 1 job; --status or --watch shows where they are",
    ]  # fmt: skip
    trainable.root = tmp_path / "real"
    trainable.sweep = SweepDir(trainable.root / "tiny")
    (run,) = trainable.folders
    assert run.state().state in ("pending", "running")
    assert trainable.call("slurm", "--cluster", "local") == 0
    said = capsys.readouterr().out
    assert "1 running" in said or "1 pending" in said
    while not run.metrics():
        assert run.state().state in ("pending", "running")
        time.sleep(0.05)
    assert trainable.call("slurm", "--cancel", "--yes") == 0
    assert "cancelled 1" in capsys.readouterr().out
    assert not run.is_locked()
    assert run.state().state == "cancelled"


@pytest.mark.parametrize("name", ["7_0.log", "8.log", "artnet-tiny-00000000"])
@pytest.mark.parametrize("plant", ["link", "dangling", "pipe"])
def test_nothing_is_submitted_where_logs_would_be_written_through_a_link(tiny, monkeypatch, tmp_path, name, plant):
    tiny.plan(seeds=1)
    decisions = decide(tiny.expand(), {run.config.name: Found(State.PLANNED) for run in tiny.expand()}, Policy())
    (tmp_path / "disk").mkdir()
    jobs = tiny.sweep.folder / "slurm"
    jobs.symlink_to(tmp_path / "disk")  # the whole folder may be elsewhere
    submitted = []
    monkeypatch.setattr(submit, "max_array_size", lambda: 0)
    monkeypatch.setattr(submit.local, "start", lambda *_: 7)
    monkeypatch.setattr(executor, "run", lambda *command: submitted.append(command) or "Submitted batch job 7\n")
    monkeypatch.setattr(SlurmArrayExecutor, "affinity", classmethod(lambda cls: 2))
    (jobs / "6_0.log").write_text("earlier")
    (jobs / "artnet-tiny-11111111").mkdir()
    wanted = {run.config.name: Resources(time="0:05:00") for run in tiny.expand()}
    for cluster in ("slurm", "local"):
        assert submit.submit(tiny.sweep, SlurmBlock(), wanted, decisions, cluster=cluster) == 1
    count = len(submitted)
    if plant == "pipe":
        (jobs / name).unlink(missing_ok=True)
        os.mkfifo(jobs / name)
    else:
        (jobs / name).unlink(missing_ok=True)
        (jobs / name).symlink_to(tmp_path / "bashrc" if plant == "dangling" else tiny.file)
    for cluster in ("slurm", "local"):
        with pytest.raises(UserError, match=f"{name} is a link or a pipe"):
            submit.submit(tiny.sweep, SlurmBlock(), wanted, decisions, cluster=cluster)
    assert len(submitted) == count > 0


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o000])
def test_only_this_user_can_write_where_submitit_logs_a_job_of_this_machine(tiny, monkeypatch, umask):
    jobs = tiny.sweep.folder / "slurm"
    jobs.mkdir(parents=True)
    monkeypatch.setattr(local.subprocess, "Popen", mock.Mock())
    before = os.umask(umask)
    try:
        local.start(jobs / "artnet-tiny-00000000.json", tiny.root, Resources(), 1)
        assert (jobs / "artnet-tiny-00000000").stat().st_mode & 0o777 == 0o755
        with pytest.raises(UserError, match="artnet-tiny-00000000 exists already"):
            local.start(jobs / "artnet-tiny-00000000.json", tiny.root, Resources(), 1)
    finally:
        os.umask(before)
