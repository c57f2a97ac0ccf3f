"""What cannot be known is never taken for dead, and is left alone."""

import errno
import fcntl
import os
import subprocess
from unittest import mock

import pytest

from artnet.rundir import RunDir
from launch.sweep.folder import find_run, note_state
from launch.sweep.plan import Action, Policy, decide
from launch.sweep.state import Found, State
from shards.errors import UserError
from shards.locks import LockError, locked
from tests.conftest import ROOT, environment

from ..tiny_grid import complete


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_lock_that_cannot_be_asked_is_unknown_and_named(tiny, monkeypatch, capsys, number):
    first, second = tiny.plan(seeds=2)
    note_state(first, State.RUNNING, launcher="local")
    first.lock_file.touch()
    complete(second)
    second.lock_file.touch()

    def flock(handle: object, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    assert tiny.call("local", "--status") == 0
    said = capsys.readouterr().out
    assert f"the lock {first.lock_file} cannot be used: {os.strerror(number)}" in said
    assert "2 runs: 1 complete, 1 unknown" in said
    with pytest.raises(LockError, match=rf"the lock {first.lock_file} cannot be used"), first.locked():
        pass
    assert tiny.call("local", "--cancel", "--yes") == 2
    assert capsys.readouterr().err.startswith(f"error: the lock {tiny.sweep.lock} cannot be used: ")


def test_a_lock_that_cannot_be_opened_is_unknown(tmp_path):
    (tmp_path / ".lock").symlink_to(".lock")  # too many levels, for root too
    found = find_run(RunDir(tmp_path), "signature")
    assert (found.state, str(tmp_path / ".lock") in found.reason) == (State.UNKNOWN, True)
    with pytest.raises(LockError, match="the lock"), locked(tmp_path / ".lock", 0):
        pass


@pytest.fixture
def nfs(monkeypatch):
    """`flock` as on NFS, where an exclusive lock needs a file that is open for writing, a shared one for reading."""
    flock = fcntl.flock

    def on_nfs(handle, operation):
        access = fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE
        if access == (os.O_RDONLY if operation & fcntl.LOCK_EX else os.O_WRONLY):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", on_nfs)


def test_a_run_that_is_trained_on_nfs_is_alive_and_never_moved(tiny, nfs):
    folder, *_ = tiny.plan()
    assert not folder.is_locked()
    with folder.locked():
        assert find_run(folder, folder.config().signature).state is State.RUNNING
        with pytest.raises(UserError, match=r"still being trained \(process \d+ of "):
            tiny.sweep.set_aside(folder)
    assert tiny.sweep.set_aside(folder).exists()


def test_a_run_whose_lock_cannot_be_asked_is_not_moved(tiny, monkeypatch):
    folder, *_ = tiny.plan()
    folder.lock_file.touch()
    monkeypatch.setattr(fcntl, "flock", mock.Mock(side_effect=OSError(errno.EIO, "Input/output error")))
    with pytest.raises(LockError):
        tiny.sweep.set_aside(folder)
    assert folder.config_file.exists()


def test_a_pipe_or_a_link_in_place_of_a_lock_is_not_waited_for_or_followed(tiny, tmp_path):
    folder, other, *_ = tiny.plan()
    os.mkfifo(folder.lock_file)
    assert find_run(folder, folder.config().signature).state is State.UNKNOWN
    other.lock_file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LockError), other.locked():
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_a_run_that_cannot_be_read_is_left_alone(trainable):
    private, other = trainable.plan(seeds=2)
    complete(private)
    complete(other)
    private.path.chmod(0)
    # Root reads everything, unless it gives that up.
    caps = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

    def said(*options: str) -> tuple[int, str]:
        ended = subprocess.run(
            [*caps, *trainable.command("local", *options)],
            cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return ended.returncode, ended.stdout + ended.stderr

    try:
        code, shown = said("--status")
        assert code == 1
        assert "2 runs: 1 complete, 1 cannot be read" in shown
        assert f"{private.state_file}: Permission denied" in shown
        code, shown = said()
        assert (code, "1 complete, 1 cannot be read" in shown, "1 to start" in shown) == (1, True, False), shown
        assert "planned" not in said("--dry-run")[1]
    finally:
        private.path.chmod(0o755)
    assert not private.attempts.exists()


def test_a_dropped_run_that_cannot_be_read_is_not_pruned(tiny):
    tiny.write(seeds=1)
    (run,) = tiny.expand()
    found = {run.config.name: Found(State.UNREADABLE)}
    assert [one.action for one in decide([], found, Policy(prune=True), [run])] == [Action.LEAVE]
