"""Locks: who may hold one, who is named, and how long it is waited for."""

import contextlib
import fcntl
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from launch.host.locks import claim
from shards import locks
from shards.errors import UserError, command
from shards.locks import LockError, holder, is_locked, locked, locked_patiently, open_lock
from tests.users import ALICE, BOB, LAB, MALLORY, needs_root, run_as, started_as

pytestmark = pytest.mark.usefixtures("in_time")


def hold(file: Path) -> None:
    """Lock a file as any reader of it can."""
    fcntl.flock(os.open(file, os.O_RDONLY), fcntl.LOCK_EX)


def take(file: Path) -> None:
    with locked(file, 0):
        pass


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_whoever_may_not_write_the_folder_cannot_open_its_lock(tmp_path, umask):
    for folder, wanted in ((0o755, 0o600), (0o775, 0o660), (0o2775, 0o660), (0o777, 0o660)):
        place = tmp_path / f"{folder:o}"
        place.mkdir()
        place.chmod(folder)
        (place / "old").touch()
        (place / "old").chmod(0o666)  # as earlier versions made them
        before = os.umask(umask)
        try:
            with locked(place / "new", 0), locked(place / "old", 0):
                pass
            os.close(claim(place / "claimed"))
        finally:
            os.umask(before)
        assert {path.name: mode(path) for path in place.iterdir()} == dict.fromkeys(("new", "old", "claimed"), wanted)


@pytest.mark.parametrize("plant", ["link", "dangling", "pipe", "folder"])
def test_a_lock_is_a_file_and_nothing_else_is_opened(tmp_path, plant):
    elsewhere, lock = tmp_path / "elsewhere", tmp_path / ".lock"
    if plant == "link":
        elsewhere.write_text("mine")
    if plant == "pipe":
        os.mkfifo(lock)
    elif plant == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(elsewhere)
    for use in (claim, open_lock, take):
        with pytest.raises(LockError, match="cannot be used"):
            use(lock)
    assert elsewhere.read_text() == "mine" if plant == "link" else not elsewhere.exists()


def test_who_holds_a_lock_is_named_and_a_process_that_may_hold_it_is_waited_for(tmp_path, monkeypatch, capsys):
    file = tmp_path / ".lock"
    for name, value in (("SILENT_S", 0), ("STRANGER_S", 0), ("LOOK_EVERY_S", 0.01)):
        monkeypatch.setattr(locks, name, value)
    take(file)
    assert holder(file) is None
    program = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input(); "
        "fcntl.flock(f, fcntl.LOCK_UN); print(flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "\n"
    found, name = holder(file), pwd.getpwuid(os.getuid()).pw_name
    assert (found.process, found.user) == (process.pid, os.getuid())
    assert str(found).startswith(f"process {process.pid} of {name}: {sys.executable} -c import fcntl")
    slept = []

    def end(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "\n"

    monkeypatch.setattr(locks.time, "sleep", end)
    with locked_patiently(file, "another is at work"):
        pass
    process.communicate("\n")
    said = capsys.readouterr().err
    assert said.startswith(f"another is at work (process {process.pid} of {name}: ")
    assert said.count("waiting for it to end") == 1


@pytest.mark.parametrize("gone", [None, locks.Holder(724)])
@pytest.mark.parametrize(("looks", "lines"), [(2, 1), (3, 2)])
def test_a_holder_that_is_gone_is_named_anew_only_if_the_lock_stays(tmp_path, monkeypatch, capsys, gone, looks, lines):
    file, seen = tmp_path / ".lock", []
    for name in ("SILENT_S", "LOOK_EVERY_S"):
        monkeypatch.setattr(locks, name, 0)
    with contextlib.ExitStack() as held:
        held.enter_context(locked(file, 0))

        def look(_: Path) -> locks.Holder | None:
            seen.append(gone if seen else locks.Holder(724, os.getuid()))
            if len(seen) == looks:
                held.close()
            return seen[-1]

        monkeypatch.setattr(locks, "holder", look)
        with locked_patiently(file, "another is at work"):
            pass
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert said[0] == f"another is at work ({seen[0]}); waiting for it to end"


def test_a_holder_that_the_system_does_not_show_is_not_waited_for_without_end(tmp_path, monkeypatch):
    file = tmp_path / ".lock"
    for name in ("SILENT_S", "LOOK_EVERY_S", "UNSEEN_S"):
        monkeypatch.setattr(locks, name, 0)
    monkeypatch.setattr(locks, "holder", lambda file: None)
    waiting = locked_patiently(file, "another is at work")
    with locked(file, 0), pytest.raises(UserError, match=f"the lock {file} is held by a process that cannot be seen"):
        waiting.__enter__()


def test_a_lock_that_its_process_has_left_to_a_child_is_named_too(tmp_path):
    file = tmp_path / ".lock"
    inherit = "import fcntl, os, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX)\n"
    inherit += "if not os.fork(): input()"
    process = subprocess.Popen([sys.executable, "-c", inherit, file], stdin=subprocess.PIPE)
    assert process.wait() == 0
    assert str(holder(file)) == f"process {process.pid}, which has ended, or a child of it"
    process.stdin.close()


@needs_root
def test_a_reader_of_a_folder_can_hold_no_lock_and_one_who_does_is_not_waited_for(public_folder, monkeypatch):
    file = public_folder / ".lock"
    take(file)
    code, said = run_as(MALLORY, lambda: hold(file))
    assert (code, "Permission denied" in said) == (99, True)
    file.chmod(0o644)  # of an earlier version
    for name in ("SILENT_S", "LOOK_EVERY_S", "STRANGER_S"):
        monkeypatch.setattr(locks, name, 0)
    with started_as(MALLORY, lambda: hold(file)) as process:
        sentence = f"at work: the lock {file} is held by process {process} of {MALLORY}: .* its user may not write"
        with pytest.raises(UserError, match=sentence):
            locked_patiently(file, "at work").__enter__()


@needs_root
def test_a_user_without_permission_sees_that_a_lock_is_held(public_folder):
    file = public_folder / ".lock"
    with locked(file, 0):
        assert run_as(MALLORY, lambda: print(is_locked(file))) == (0, "True\n")
    ask = command(lambda argv=None: is_locked(file))
    code, said = run_as(MALLORY, ask)
    assert (code, said.startswith(f"error: the lock {file} cannot be used: Permission denied")) == (2, True)
    assert not is_locked(file)


@needs_root
def test_a_group_shares_the_locks_of_its_folder(public_folder):
    public_folder.chmod(0o2775)
    os.chown(public_folder, ALICE, LAB)
    for user, groups, umask, code in ((ALICE, [LAB], 0o022, 0), (BOB, [LAB], 0o002, 0), (MALLORY, [], 0o022, 99)):
        assert run_as(user, lambda: take(public_folder / ".lock"), groups, umask)[0] == code
