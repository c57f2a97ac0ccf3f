"""What is deleted, after a typed yes, and what stays."""

import os
import pty
import subprocess

import pytest

from launch.commands.clean import in_words
from launch.sweep.attempt import attempt_folder
from launch.sweep.folder import note_state
from launch.sweep.state import State
from tests.conftest import ROOT, environment

from ..tiny_grid import complete


def test_cleaning_leaves_results_last_logs_and_what_is_alive(tiny, fake_slurm, capsys):
    folders = tiny.plan()
    complete(folders[0])
    for number, folder in enumerate(folders):
        job = {"launcher": "slurm", "job": f"7{number}_0", "job_name": f"artnet-a_b-{number}"}
        note_state(folder, State.RUNNING if number else State.COMPLETE, position=0, **job)
        fake_slurm.add(job["job"], job["job_name"])
        folder.checkpoints.mkdir()
        for file in ("last.pt", "previous.pt", "best.pt"):
            (folder.checkpoints / file).write_bytes(bytes(1000))
        for attempt in (1, 2):
            (attempt_folder(folder, attempt) / "stdout").write_bytes(bytes(100))
    jobs = tiny.sweep.folder / "slurm"
    jobs.mkdir()
    for name in ("70_0.log", "artnet-a_b-0.json", "71_0.log", "artnet-a_b-1.json", "72_0.log", "answer.json"):
        (jobs / name).write_bytes(bytes(10))
    (tiny.sweep.replaced / "some.1").mkdir(parents=True)
    (tiny.sweep.replaced / "some.1" / "file").write_bytes(bytes(5000))

    copied = tiny.sweep.code / "3f9a1c7b20d4e5f6"
    copied.mkdir(parents=True)

    tiny.sweep.lock.touch()
    before = sorted(tiny.root.rglob("*"))
    assert tiny.call("local", "--clean", "--dry-run") == 0
    assert "dry run: nothing was deleted of 7.1 kB" in capsys.readouterr().out
    assert before == sorted(tiny.root.rglob("*"))
    assert tiny.call("local", "--clean", "--yes") == 0
    gone = {str(path.relative_to(tiny.sweep.folder)) for path in {*before} - {*tiny.root.rglob("*")}}
    name = folders[0].name
    assert gone == {
        f"{name}/checkpoints/last.pt", f"{name}/checkpoints/previous.pt",
        f"{name}/attempts/001", f"{name}/attempts/001/stdout",
        "slurm/70_0.log", "slurm/artnet-a_b-0.json", "replaced/some.1", "replaced/some.1/file",
    }  # fmt: skip
    capsys.readouterr()
    tiny.call("local", "--clean")
    assert "nothing to clean" in capsys.readouterr().out
    for folder in folders:
        note_state(folder, State.CANCELLED)
    tiny.call("local", "--clean", "--yes")
    assert not copied.exists()
    assert in_words(1_234_567_890) == "1.2 GB"


@pytest.mark.parametrize(("typed", "deleted"), [("yes", True), ("y", False)])
def test_only_a_typed_yes_agrees(tiny, typed, deleted):
    folder, *_ = tiny.plan()
    complete(folder)
    last = folder.checkpoints / "last.pt"
    last.parent.mkdir()
    last.write_bytes(bytes(10))
    keyboard, terminal = pty.openpty()
    process = subprocess.Popen(
        tiny.command("local", "--clean"), cwd=ROOT, env=environment(), stdin=terminal, stderr=subprocess.PIPE, text=True
    )
    os.write(keyboard, f"{typed}\n".encode())
    _, told = process.communicate(timeout=120)
    assert "this deletes 10 B permanently; type yes to go on" in told
    assert last.exists() is not deleted
