"""Jobs submitted without a cluster: arrays, their scripts, and runs as processes of this machine."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from launch.cluster import job, submit
from launch.cluster.executor import SlurmArrayExecutor
from launch.cluster.job_array import Array
from launch.cluster.programs import arrays, scrubbed
from launch.sweep.folder import SweepDir


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
    executor = SlurmArrayExecutor(folder)
    executor.update_parameters(time=5, array_parallelism=4, signal_delay_s=30, setup=["module load cuda"])
    executor._count, executor._code = 2, folder
    command = executor._make_submission_command(folder / "a.sh")
    assert f"--output={str(folder).replace('%', '%%')}/%A_%a.log" in command
    assert "--array=0-1%2" in command
    text = executor._make_submission_file_text("true", "").replace("exec srun", 'printf %s "$PYTHONPATH"; :')
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
    monkeypatch.setattr(job, "cores", lambda: 8)
    assert job.rank_threads("32", ranks=4) == 8  # each rank is bound to its own
    assert job.rank_threads("8", ranks=4) == 2
    assert job.rank_threads("", ranks=4) == 2


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
