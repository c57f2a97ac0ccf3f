"""Jobs as processes of this machine: how many at a time, on which GPUs."""

import errno
import shutil
import signal
import subprocess

import pytest

from artnet.rundir import EXIT_STOPPED, read_json, write_json
from launch.cluster import local, observe
from launch.cluster.job import Job
from launch.cluster.job_array import Array
from launch.cluster.rank import LOCAL_REQUEUE
from launch.cluster.stop import StopRelay
from launch.host import locks
from launch.host.gpu_locks import GpuLocks
from launch.host.slots import Slot
from launch.sweep.folder import note_state
from launch.sweep.state import State
from shards.errors import UserError
from shards.locks import LockError


@pytest.fixture
def queue(tiny, tmp_path, monkeypatch):
    """A queue of four jobs, each of which is a process that ends when the test says so."""
    folders = tiny.plan(seeds=4)
    name = Array.new_name(tiny.sweep.folder)
    array = Array(name, "2026-11-25T21:00:00+00:00", [run.name for run in folders], [1] * 4, 60, 30, 3)
    file = array.write(tiny.sweep.folder)
    for place, folder in enumerate(folders):
        note_state(folder, State.PENDING, launcher="slurm", job_name=name, position=place, cluster="local")

    def build(gpus, parallel):
        places = [Slot(tuple(share), frozenset(), 1) for share in gpus]
        return local.Queue(
            file, array, places, ranks=1, parallel=parallel, gpu_locks=GpuLocks(folder=tmp_path / "gpus")
        )

    return build


def first_job(jobs, monkeypatch):
    """The first job, in this process, without handlers of signals."""
    names = {"JOB_ID": "7", "NTASKS": "1", "JOB_NUM_NODES": "1", "NODEID": "0", "GLOBALID": "0", "LOCALID": "0"}
    for name, value in names.items():
        monkeypatch.setenv(f"SUBMITIT_LOCAL_{name}", value)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    stop = StopRelay.__new__(StopRelay)
    stop.name = ""
    return Job(jobs.file, 0, stop)


@pytest.mark.parametrize(
    ("gpus", "parallel", "at_once"),
    [
        ([["0"], ["1"], ["2"]], 8, ["0", "1", "2"]),
        ([["0"], ["1"], ["2"]], 2, ["0", "1"]),  # max_parallel
        ([["0", "1"], ["2", "3"]], 8, ["0,1", "2,3"]),
        ([[], []], 8, ["", ""]),
    ],
)
def test_jobs_take_distinct_gpus_or_wait(queue, monkeypatch, gpus, parallel, at_once):
    jobs = queue(gpus, parallel)
    started, popen = [], subprocess.Popen

    def start(program, env, pass_fds, **options):
        started.append((env["CUDA_VISIBLE_DEVICES"], popen(["sleep", "60"], pass_fds=pass_fds)))
        return started[-1][1]

    def end_the_first(_):
        if len(started) == len(at_once):  # all that fit are there: one ends, another takes its place
            assert [seen for seen, _ in started] == at_once
        running = [process for _, process in started if process.poll() is None]
        assert len(running) <= len(at_once)
        for process in running[:1]:
            process.kill()
            process.wait()

    monkeypatch.setattr(local.subprocess, "Popen", start)
    monkeypatch.setattr(local.time, "sleep", end_the_first)
    jobs.carry_out()
    assert len(started) == 4


def test_a_job_whose_launcher_is_gone_keeps_its_gpus(queue, monkeypatch):
    one, other = queue([["0"]], 8), queue([["0"]], 8)
    with one._room(0) as (_, locks):
        job = subprocess.Popen(["sleep", "60"], pass_fds=locks)
    with other._room(0) as room:
        assert room is None
    job.kill()
    job.wait()
    with other._room(0) as room:
        assert room is not None


def test_a_cancelled_job_does_not_wait_for_room(queue, tiny, monkeypatch):
    jobs = queue([["0"]], 1)
    monkeypatch.setattr(jobs, "_start", lambda *_: pytest.fail("started"))
    for folder in tiny.folders:
        note_state(folder, State.CANCELLED, cancelled=4e9)
    jobs.carry_out()


def test_a_job_makes_no_folder_of_a_run_that_was_deleted(queue, tiny, monkeypatch):
    jobs, (first, *_) = queue([[]], 1), tiny.folders
    job = first_job(jobs, monkeypatch)
    shutil.rmtree(first.path)
    job._record(outcome="complete")
    job._note(State.COMPLETE)
    job._report_end(-9, has_begun=False)
    with pytest.raises(UserError, match="was deleted"):
        first_job(jobs, monkeypatch)
    assert not first.path.exists()


def test_a_process_is_known_by_its_job_not_by_a_path():
    sleeper = subprocess.Popen(["sh", "-c", "echo; sleep 60; true", "artnet-tiny-12345678"], stdout=subprocess.PIPE)
    assert sleeper.stdout.readline() == b"\n"
    assert observe.is_running(str(sleeper.pid), "artnet-tiny-12345678")
    assert not observe.is_running(str(sleeper.pid), "artnet-tiny-87654321")
    sleeper.kill()
    sleeper.wait()


@pytest.mark.parametrize(
    ("number", "code", "state"),
    [(signal.SIGTERM, EXIT_STOPPED, "interrupted"), (signal.SIGUSR2, LOCAL_REQUEUE, "requeued")],
)
def test_a_job_that_is_killed_stays_stopped_and_one_out_of_time_goes_on(queue, tiny, monkeypatch, number, code, state):
    job = first_job(queue([[]], 1), monkeypatch)
    job.stop.name = number.name
    assert job._stopped([], attempts=0, begun=1) == code
    assert tiny.folders[0].state().state == state


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(LockError, match=rf"the lock {tmp_path / 'gpu-0.lock'} cannot be used: No locks available"):
        locks.claim(tmp_path / "gpu-0.lock")


@pytest.mark.parametrize("value", [10**400, -1, "many", "9" * 5000, None, [1], {}, 1e999, True])
def test_what_a_start_has_recorded_is_not_trusted_to_be_a_number(queue, tiny, monkeypatch, value):
    job = first_job(queue([[]], 1), monkeypatch)
    run = tiny.folders[0]
    for number in (1, 2, 3):
        record = {"job_name": job.array.name, "outcome": value, "attempts_before": value, "ended": value}
        write_json(run.attempts / f"{number:03d}" / "job.json", record)
        write_json(job.logs / f"ended.{number}", {"state": value, "reason": value})
    monkeypatch.setattr(job, "_start", lambda: None)
    assert job.carry_out() == EXIT_STOPPED
    assert tiny.folders[0].state().state in ("failed", "interrupted")


@pytest.mark.parametrize(
    "broken",
    [
        {"runs": "abcd"}, {"runs": ["../../x"] * 4}, {"runs": ["/etc"] * 4}, {"runs": 5}, {"attempts": ["1"] * 4},
        {"attempts": [1]}, {"minutes": "60"}, {"minutes": None}, {"submitted": "yesterday"}, {"submitted": 5},
        {"signal_s": [30]}, {"requeue": "x" * 10_000}, {"name": 7},
    ],
)  # fmt: skip
def test_a_broken_file_of_an_array_is_one_sentence(queue, broken):
    jobs = queue([[]], 1)
    assert Array.read(jobs.file) == jobs.array
    write_json(jobs.file, {**read_json(jobs.file), **broken})
    with pytest.raises(UserError, match="is missing or broken; submit the grid again"):
        Array.read(jobs.file)
