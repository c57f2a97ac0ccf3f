"""What is deleted, after a typed yes, and what stays."""

import os
import pty
import subprocess

import pytest

from launch.commands import clean
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
        job = {"launcher": "slurm", "job": f"7{number}_0", "job_name": f"artnet-tiny-0000000{number}"}
        note_state(folder, State.RUNNING if number else State.COMPLETE, position=0, **job)
        fake_slurm.add(job["job"], job["job_name"])
        folder.checkpoints.mkdir()
        for file in ("last.pt", "previous.pt", "best.pt"):
            (folder.checkpoints / file).write_bytes(bytes(1000))
        for attempt in (1, 2):
            (attempt_folder(folder, attempt) / "stdout").write_bytes(bytes(100))
    jobs = tiny.sweep.folder / "slurm"
    jobs.mkdir()
    for name in (
        "70_0.log",
        "artnet-tiny-00000000.json",
        "71_0.log",
        "artnet-tiny-00000001.json",
        "72_0.log",
        "answer.json",
    ):
        (jobs / name).write_bytes(bytes(10))
    replaced = tiny.sweep.replaced / f"{folders[0].name}.1"
    replaced.mkdir(parents=True)
    (replaced / "file").write_bytes(bytes(5000))

    copied = tiny.sweep.code / "3f9a1c7b20d4e5f6"
    copied.mkdir(parents=True)

    tiny.sweep.lock.touch()
    before = sorted(tiny.root.rglob("*"))
    assert tiny.call("local", "--clean", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "dry run: nothing was deleted of 7.1 kB" in shown
    assert f"{folders[0].path}/attempts/001\n" in shown
    assert before == sorted(tiny.root.rglob("*"))
    assert tiny.call("local", "--clean", "--yes") == 0
    gone = {str(path.relative_to(tiny.sweep.folder)) for path in {*before} - {*tiny.root.rglob("*")}}
    name = folders[0].name
    assert gone == {
        f"{name}/checkpoints/last.pt", f"{name}/checkpoints/previous.pt",
        f"{name}/attempts/001", f"{name}/attempts/001/stdout",
        "slurm/70_0.log", "slurm/artnet-tiny-00000000.json", f"replaced/{name}.1", f"replaced/{name}.1/file",
    }  # fmt: skip
    capsys.readouterr()
    tiny.call("local", "--clean")
    assert "nothing to clean" in capsys.readouterr().out
    for folder in folders:
        note_state(folder, State.CANCELLED)
    tiny.call("local", "--clean", "--yes")
    assert not copied.exists()
    assert in_words(1_234_567_890) == "1.2 GB"


@pytest.mark.parametrize("linked", ["code", "replaced", "slurm", "attempts", "checkpoints", "run"])
@pytest.mark.parametrize("within", [True, False])
def test_nothing_is_deleted_through_a_link(tiny, capfd, linked, within):
    run, *_ = tiny.plan(seeds=1)
    complete(run)
    elsewhere = (run.path if within else tiny.root.parent) / "thesis"
    own = ("0123456789abcdef", f"{run.name}.1", "12_0.log", "artnet-tiny-00000000.json", "001", "002", "last.pt")
    for folder in (elsewhere, elsewhere / "attempts", elsewhere / "checkpoints"):
        for name in own:
            (folder / name).mkdir(parents=True)
            (folder / name / "chapter").write_text("irreplaceable")
    if linked == "run":
        run.path.rename(tiny.root.parent / "moved")
        run.path.symlink_to(elsewhere if not within else tiny.root.parent / "moved" / "thesis")
        elsewhere = run.path.resolve()
        for file in (tiny.root.parent / "moved").glob("*.*"):
            (elsewhere / file.name).write_bytes(file.read_bytes())
    else:
        place = (run.path if linked in ("attempts", "checkpoints") else tiny.sweep.folder) / linked
        place.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    assert tiny.call("local", "--clean", "--dry-run") == 0
    assert f"{run.path if linked == 'run' else place}/" not in capfd.readouterr().out
    assert tiny.call("local", "--clean", "--yes") == 0
    assert sorted(elsewhere.rglob("*")) == before
    assert f"is reached through a link to {elsewhere}" in capfd.readouterr().err


@pytest.mark.parametrize("linked", ["attempts", "replaced"])
def test_what_becomes_a_link_while_the_user_is_asked_is_not_deleted(tiny, monkeypatch, linked):
    run, *_ = tiny.plan(seeds=1)
    complete(run)
    place, names = (run.attempts, ("001", "002")) if linked == "attempts" else (tiny.sweep.replaced, (f"{run.name}.1",))
    for parent in (place, tiny.root.parent / "thesis"):
        for name in names:
            (parent / name).mkdir(parents=True)
            (parent / name / "chapter").touch()

    def plant(question: str, yes: bool) -> bool:
        place.rename(place.with_name("moved"))
        place.symlink_to(tiny.root.parent / "thesis")
        return True

    monkeypatch.setattr(clean, "ask", plant)
    assert tiny.call("local", "--clean", "--yes") == 0
    assert all((tiny.root.parent / "thesis" / name / "chapter").exists() for name in names)


def test_only_names_of_our_own_form_are_deleted_and_the_sweep_may_be_reached_by_a_link(tiny, capsys):
    run, *_ = tiny.plan(seeds=1)
    complete(run)
    tiny.sweep.folder.rename(tiny.root.parent / "other-disk")
    tiny.sweep.folder.symlink_to(tiny.root.parent / "other-disk")
    own = {"code/0123456789abcdef", f"replaced/{run.name}.2", "slurm/12_0.log", "slurm/artnet-tiny-01234567.sh"}
    own |= {f"{run.name}/attempts/001"}
    foreign = {"code/abc", "code/feed", "slurm/12_notes.txt", "slurm/7"}
    foreign |= {"replaced/thesis", "replaced/.1x", "replaced/thesis.1", "replaced/chapter-01234567.1"}
    foreign |= {f"replaced/{run.name}{end}" for end in ("", ".0", ".1.2", ".x")}
    foreign |= {"slurm/artnet-other-01234567.sh", "slurm/artnet-x", f"{run.name}/attempts/000notes"}
    foreign |= {f"{run.name}/attempts/002"}  # the last
    for name in own | foreign:
        (tiny.sweep.folder / name).mkdir(parents=True)
    assert tiny.call("local", "--clean", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert {name for name in own | foreign if f"{tiny.sweep.folder / name}\n" in shown} == own
    assert tiny.call("local", "--clean", "--yes") == 0
    assert {name for name in own | foreign if (tiny.sweep.folder / name).exists()} == foreign


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
