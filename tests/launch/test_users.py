"""Sweeps and several users of a machine: a colleague who reads, a stranger, a group that shares a folder."""

import shutil
from pathlib import Path

import pytest

from artnet.rundir import RunDir
from launch.machine import pool
from launch.sweep.folder import note_state
from launch.sweep.state import State
from shards import files
from tests.users import ALICE, BOB, LAB, MALLORY, give, needs_root, run_as, started_as

from .tiny_grid import TinyGrid, complete

pytestmark = [needs_root, pytest.mark.usefixtures("in_time")]


def listed(folder: Path) -> dict[str, tuple[int, bytes]]:
    paths = sorted(folder.rglob("*"))
    return {str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in paths}


@pytest.fixture
def of_alice(public_folder):
    """A sweep of Alice's that everybody can read: a run in each of some states."""
    grid = TinyGrid(public_folder)
    done, failed, _, _, planned = grid.plan(seeds=5)
    complete(done)
    note_state(done, State.COMPLETE, launcher="local")
    note_state(failed, State.FAILED, "out of luck", launcher="local")
    for folder in grid.folders[2:4]:
        note_state(folder, State.RUNNING, launcher="local")
    assert not planned.state_file.exists()
    done.checkpoints.mkdir()
    (done.checkpoints / "last.pt").write_bytes(bytes(100))
    (grid.sweep.replaced / f"{done.name}.1").mkdir(parents=True)
    (grid.sweep.replaced / f"{done.name}.1" / "file").write_bytes(bytes(100))
    grid.call("local", "--clean", "--dry-run")  # makes the lock of the sweep
    give(public_folder, ALICE)

    ended, running = (folder.locked() for folder in grid.folders[1:3])
    with started_as(ALICE, ended.__enter__):
        pass
    with started_as(ALICE, running.__enter__):
        yield grid


def test_a_colleague_who_can_only_read_sees_the_status(of_alice):
    before = listed(of_alice.root)
    for door in ("local", "tune"):
        code, said = run_as(MALLORY, lambda door=door: of_alice.call(door, "--status"))
        assert code == 1, said
        assert "5 runs: 1 planned, 1 running, 1 interrupted, 1 complete, 1 failed" in said
        assert "out of luck" in said and "Traceback" not in said
    assert listed(of_alice.root) == before
    locks = [of_alice.sweep.lock, *(folder.lock_file for folder in of_alice.folders[1:3])]
    assert [lock.stat().st_mode & 0o777 for lock in locks] == [0o600] * 3


CANCEL, CLEAN, FORCE = ["--cancel", "--yes"], ["--clean", "--yes"], ["--force", "--yes"]


@pytest.mark.parametrize(
    ("options", "is_open"),
    [(CANCEL, True), (CLEAN, True), (CANCEL, False), (CLEAN, False), (FORCE, False), ([], False)],
)
def test_a_stranger_changes_nothing_and_is_told_so_in_a_sentence(of_alice, options, is_open):
    of_alice.sweep.lock.write_text("local")
    if is_open:  # as a careless user leaves it
        of_alice.sweep.lock.chmod(0o666)
    before = listed(of_alice.root)
    code, said = run_as(MALLORY, lambda: of_alice.call("local", *options))
    assert code == 2, said
    last = said.splitlines()[-1]
    assert last.startswith("error: ") and str(of_alice.sweep.folder) in last
    assert "Traceback" not in said and "deleted" not in said.replace("could not be deleted", "")
    after = listed(of_alice.root)
    assert {path: content for path, (_, content) in after.items()} == {p: content for p, (_, content) in before.items()}


def test_a_sweep_that_nobody_else_may_open_is_not_taken_for_an_empty_one(of_alice):
    of_alice.sweep.folder.chmod(0o700)
    code, said = run_as(MALLORY, lambda: of_alice.call("local", "--status"))
    assert (code, "5 runs: 5 cannot be read" in said, "Traceback" in said) == (1, True, False), said


@pytest.fixture
def prepared(monkeypatch, tmp_path, public_folder, shards):
    """Trainings that copy a result: other users may not be able to start this interpreter."""

    def training_command(folder: RunDir, processes: int) -> list[str]:
        return ["cp", str(public_folder / f"{folder.name}.json"), str(folder.result_file)]

    monkeypatch.setattr(pool, "training_command", training_command)
    monkeypatch.setattr(files, "_UMASK", 0o002)  # read at import, which is once for all users here
    shutil.copytree(shards, public_folder / "shards")
    grid = TinyGrid(public_folder / "lab", str(public_folder / "shards"))
    for folder in grid.plan(seeds=2):
        complete(folder)
        folder.result_file.rename(public_folder / f"{folder.name}.json")
    grid.call("local")  # imports what is needed
    grid.call("local", "--clean", "--yes")
    shutil.rmtree(grid.root)
    return grid


def test_two_users_of_a_group_share_a_sweep(prepared):
    grid, folder = prepared, prepared.file.parent
    give(folder, ALICE, LAB)
    folder.chmod(0o2775)
    steps = [
        (ALICE, ["--limit", "1"], 1, "1 to start"),
        (BOB, [], 0, "1 to start, 1 complete"),
        (ALICE, ["--status"], 0, "2 complete"),
        (BOB, ["--force", "--yes"], 0, "2 to start from scratch"),
        (ALICE, ["--clean", "--yes"], 0, "deleted"),
        (BOB, ["--cancel", "--yes"], 0, "nothing to cancel: 2 runs: 2 complete"),
        (BOB, ["--collect"], 0, "ResNet18"),
    ]
    for user, options, wanted, words in steps:
        code, said = run_as(user, lambda options=options: grid.call("local", *options), [LAB], umask=0o002)
        assert (code, words in said) == (wanted, True), (options, said)
    owners = {path.stat().st_uid for path in grid.root.rglob("*")}
    assert owners == {ALICE, BOB}
    assert not list(grid.sweep.replaced.glob("*"))
    assert {path.stat().st_mode & 0o777 for path in grid.root.rglob(".lock")} == {0o660}
    code, said = run_as(MALLORY, lambda: grid.call("local", "--status"))
    assert (code, "2 complete" in said) == (0, True), said
