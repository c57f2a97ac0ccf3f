"""Locks: who can hold one, and what is said and done while another user does."""

import contextlib
import fcntl
import os
import subprocess
import sys

import pytest

from artnet.rundir import RunDir
from shards import files
from shards.errors import UserError
from shards.files import LockError, is_locked, locked, locked_patiently
from shards.holder import holder, is_held
from tests.other_user import UID, as_other, needs_root, public_folder


def hold(file):
    descriptor = os.open(file, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def test_the_holder_of_a_lock_is_named_without_its_escapes(tmp_path):
    file = tmp_path / ".lock"
    file.touch()
    assert holder(file) is None and is_held(file) is False
    lock = "f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX)"
    code = f"#\x1b]52;c;x\x07\nimport fcntl, sys; {lock}; print(1, flush=True); input()"
    command = [sys.executable, "-c", code, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        said = holder(file)
        assert said.startswith(f"process {process.pid} of ") and sys.executable in said
        assert "#?]52;c;x? import" in said and len(said) < 200
        assert is_held(file) is True
        process.communicate(b"\n")
    assert holder(file) is None


@pytest.mark.parametrize(("folder", "mode"), [(0o755, 0o600), (0o700, 0o600), (0o775, 0o660), (0o2775, 0o660)])
def test_only_who_can_write_the_folder_can_open_a_lock(tmp_path, folder, mode):
    (tmp_path / "x").mkdir()
    (tmp_path / "x").chmod(folder)
    file = tmp_path / "x" / ".lock"
    with locked(file, 0):
        assert file.stat().st_mode & 0o7777 == mode
    file.chmod(0o664)  # of an earlier version
    with locked(file, 0):
        assert file.stat().st_mode & 0o7777 == mode


@needs_root
def test_another_user_cannot_hold_a_lock_but_sees_who_does():
    with public_folder() as folder:
        file = folder / ".lock"
        with locked(file, 0):
            with as_other(lambda: hold(file)) as said:
                assert said.startswith("PermissionError")
            with as_other(lambda: (is_locked(file), holder(file))) as said:
                assert said.startswith(f"(True, 'process {os.getpid()} of root (")
            with as_other(lambda: locked(file, 0).__enter__()) as said:
                assert f"the lock {file} cannot be used: Permission denied" in said
        with as_other(lambda: is_locked(file)) as said:
            assert said == "False"


@needs_root
def test_a_lock_that_another_user_holds_is_given_up_and_its_holder_named(capsys, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE_S", 0.1)
    with public_folder() as folder:
        run = RunDir(folder)
        run.lock_file.touch()  # as earlier versions made it, readable by all
        with as_other(lambda: hold(run.lock_file)):
            with pytest.raises(UserError, match=rf"busy \(process \d+ of user {UID} \(.*have it ended, try again$"):
                locked_patiently(run.lock_file, "busy").__enter__()
            assert f"of user {UID}" in capsys.readouterr().err
            with pytest.raises(UserError, match=rf"by another process \(process \d+ of user {UID} \("), run.locked():
                pass


@needs_root
def test_another_user_who_works_is_waited_for(monkeypatch):
    monkeypatch.setattr(files, "PATIENCE_S", 0.1)
    with public_folder() as folder, contextlib.ExitStack() as other:
        file = folder / ".lock"
        file.touch()
        looks = iter(range(1, 100))

        def changes(path):
            if (look := next(looks)) == 8:
                other.close()
            return look

        monkeypatch.setattr(files, "_changes", changes)
        other.enter_context(as_other(lambda: hold(file)))
        with locked_patiently(file, "busy"):
            assert next(looks) > 8


def test_a_lock_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(LockError, match="it is not a regular file"):
        locked(tmp_path / ".lock", 0).__enter__()
