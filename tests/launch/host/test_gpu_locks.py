"""Locks on GPUs: no two launchers of a user put runs on one, unless both share it."""

import os

import pytest

from launch.host import gpu_locks
from launch.host.gpu_locks import GpuLocks
from shards.errors import UserError
from shards.locks import LockError

pytestmark = pytest.mark.usefixtures("in_time")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "locks"


def test_a_gpu_is_of_one_run_until_its_locks_are_closed(folder):
    one, other = GpuLocks(folder=folder), GpuLocks(folder=folder)
    held = one.claim(["0", "1"], "runs/a")
    assert other.claim(["2", "1"], "runs/b") is None
    assert other.user("1") == "runs/a"
    assert len(other.claim(["2"], "runs/b")) == 1  # the claim that failed has kept nothing
    assert one.claim(["MIG-GPU-1/2/0"], "") is not None
    for lock in held:
        os.close(lock)
    assert other.claim(["0", "1"], "runs/b") is not None


def test_runs_share_a_gpu_with_those_that_share_it_too(folder):
    alone, sharing = GpuLocks(folder=folder), GpuLocks(2, folder)
    first = sharing.claim(["0"], "a")
    assert alone.claim(["0"], "b") is None
    second = GpuLocks(2, folder).claim(["0"], "b")
    assert sharing.claim(["0"], "c") is None
    for lock in first:
        os.close(lock)
    assert sharing.claim(["0"], "c") is not None
    assert second is not None
    assert alone.claim(["1"], "d") is not None
    assert sharing.claim(["1"], "e") is None


def test_locks_are_in_a_folder_that_nobody_else_can_open_or_make(folder, tmp_path, monkeypatch):
    folder.mkdir(mode=0o777)
    GpuLocks(folder=folder).claim(["0"], "")
    assert folder.stat().st_mode & 0o777 == 0o700
    link = tmp_path / "link"
    link.symlink_to(folder)
    with pytest.raises(UserError, match="link belongs to another user; set TMPDIR"):
        GpuLocks(folder=link).claim(["0"], "")
    monkeypatch.setattr(gpu_locks.os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match="locks belongs to another user"):
        GpuLocks(folder=folder).claim(["0"], "")


@pytest.mark.parametrize("plant", ["link", "pipe", "device", "huge"])
def test_what_was_planted_while_the_folder_was_open_is_neither_written_nor_waited_for(folder, tmp_path, plant):
    folder.mkdir()
    foreign, lock = tmp_path / "bashrc", folder / "gpu-0.lock"
    foreign.write_text("mine")
    if plant == "pipe":
        os.mkfifo(lock)
    elif plant == "huge":
        lock.touch()
        os.truncate(lock, 10_000_000_000)
    else:
        lock.symlink_to(foreign if plant == "link" else "/dev/zero")
    gpus = GpuLocks(folder=folder)
    assert plant == "link" or gpus.user("0") == ""
    if plant == "huge":
        assert gpus.claim(["0"], "runs/a")
        assert gpus.user("0") == "runs/a"
    else:
        with pytest.raises(LockError, match=r"gpu-0\.lock cannot be used"):
            gpus.claim(["0"], "runs/a")
    assert foreign.read_text() == "mine"
