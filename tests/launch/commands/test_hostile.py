"""Files of a run's folder that are made to stop whoever reads them: the run cannot be read, all others are shown."""

import json
import os
import random
import signal
import time

import pytest

from artnet import report, rundir
from artnet.analysis.results import read_sweep
from artnet.rundir import RunDir, write_json
from launch.grid import expand, load
from launch.sweep.folder import note_state
from launch.sweep.state import State
from shards.errors import UserError

from ..tiny_grid import TinyGrid, complete, log_epoch

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
FILES = ("state.json", "run.json", "result.json", "metrics.jsonl", "config.yaml")


pytestmark = pytest.mark.usefixtures("in_time")


def finished(tiny: TinyGrid) -> list[RunDir]:
    folders = tiny.plan(seeds=2)
    for folder in folders:
        complete(folder)
        note_state(folder, State.COMPLETE, launcher="local")
        write_json(folder.run_file, {"signature": folder.config().signature, "attempts": [{"outcome": "complete"}]})
        log_epoch(folder, 1, **{"val/top1": 0.5, "val/style/top1": 0.5, "train/loss": 1.0, "images_per_s": 9.0})
    return folders


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
def test_a_file_that_cannot_be_read_to_its_end_costs_one_run(tiny, capsys, name, kind):
    folders = finished(tiny)
    file = folders[0].path / name
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    else:
        file.touch()
        os.truncate(file, 10_000_000_000)
    assert tiny.call("local", "--status") == 1
    out = capsys.readouterr().out
    assert "2 runs: 1 complete, 1 cannot be read" in out
    assert str(file) in out
    report.write(tiny.sweep.folder)
    if name != "result.json":  # as if it had not ended
        folders[0].result_file.unlink()
        report.write(tiny.sweep.folder)
    first, second = read_sweep(tiny.sweep.folder).runs
    assert (first.state, second.state) == ("cannot be read", "complete")
    assert str(file) in first.reason
    assert "cannot be read" in (tiny.sweep.folder / "report.html").read_text()


def test_epochs_without_end_do_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(rundir, "MAX_EPOCHS", 5)
    run = RunDir(tmp_path)
    run.metrics_file.write_text('{"kind": "epoch", "epoch": 1}\n' * 100)
    assert len(run.epochs()) == 5


def test_aliases_of_aliases_are_not_followed_and_such_a_run_cannot_be_read(tiny, capsys):
    folders = finished(tiny)
    folders[0].config_file.write_text(BOMB)
    for state in ("complete", "running", ""):
        if state != "complete":
            folders[0].result_file.unlink(missing_ok=True)
            write_json(folders[0].state_file, {"state": state, "launcher": "local"})
        assert tiny.call("local", "--status") == 1
        said = capsys.readouterr().out
        assert f"{folders[0].config_file}: " in said and "once its aliases are followed" in said
        assert "2 runs: 1 complete, 1 cannot be read" in said
    with pytest.raises(UserError, match="once its aliases are followed"):
        folders[0].config()


def test_a_config_as_it_is_written_is_not_read_for_the_status(tiny, monkeypatch):
    folder, *_ = tiny.plan(seeds=1, fixed={"data.shards": "/a b/#1: 'it''s' & *me", "pretrained": "imagenet"})
    monkeypatch.setattr(RunDir, "config", lambda self: pytest.fail("each takes milliseconds"))
    assert folder.unreadable() is None
    for bad in ("a: *b\n", "a:  *b\n", "- *b\n", "a: &b 1\n", "a: [*b]\n", "<<: *b\n", "? *b\n", "  &b\n", "a:\t*b\n"):
        folder.config_file.write_text(f"seed: 0\n{bad}")
        with pytest.raises(pytest.fail.Exception):
            folder.unreadable()


@pytest.mark.parametrize("name", ["state.json", "run.json", "result.json"])
@pytest.mark.parametrize("state", ["complete", "running"])
@pytest.mark.parametrize("launcher", ["local", "slurm"])
def test_a_run_of_a_newer_version_does_not_hide_the_others(tiny, fake_slurm, capsys, name, state, launcher):
    folders = finished(tiny)
    job = {"launcher": launcher, "job": "7_0", "job_name": "artnet-tiny-00000001", "position": 0}
    note_state(folders[0], State(state), **job)
    file = folders[0].path / name
    write_json(file, {**json.loads(file.read_bytes()), "format": 99})
    for door in ("local", "slurm", "tune"):
        assert tiny.call(door, "--status") == 1
        said = capsys.readouterr()
        assert "2 runs: 1 complete, 1 cannot be read" in said.out
        assert f"{file} was made by a newer artnet" in said.out + said.err
    tiny.call("local", "--cancel", "--yes")
    assert "nothing to cancel" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [
        {"jobs": [["artnet-tiny-00000001", 0, []]]}, {"asked": 10**400}, {"jobs": [[[], 0, {}]]}, {"jobs": 5},
        {"jobs": [["artnet-tiny-00000001", 0, {"id": "7_0"}]]}, {"names": None}, {"asked": float("nan")},
    ],
)  # fmt: skip
def test_a_broken_answer_of_slurm_is_asked_for_again(tiny, fake_slurm, capsys, answer):
    folder, *_ = tiny.plan(seeds=1)
    job = {"launcher": "slurm", "job": "7_0", "job_name": "artnet-tiny-00000001", "position": 0}
    note_state(folder, State.RUNNING, **job)
    fake_slurm.add("7_0", "artnet-tiny-00000001")
    kept = {"asked": time.time(), "names": [job["job_name"]], "trouble": "", "queue_known": True, "history_known": True}
    (tiny.sweep.folder / "slurm").mkdir()
    write_json(tiny.sweep.folder / "slurm" / "answer.json", {**kept, "jobs": [], **answer})
    assert tiny.call("slurm", "--status") == 0
    assert "1 running" in capsys.readouterr().out


def test_merges_of_merges_are_not_followed(tiny):
    tiny.write()
    merges = "".join(f"  b{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
    many = ", ".join(f"k{number}: 1" for number in range(2000))
    tiny.file.write_text(f"x:\n  b0: &b0 {{{many}}}\n{merges}")
    with pytest.raises(UserError, match=rf"^{tiny.file}:\d+: over 100,000 values once its .* are followed"):
        load(tiny.file)


@pytest.mark.parametrize("value", ["many", None, [1], {"a": 1}, True, 10**400, -1, 2.5])
def test_a_metric_of_a_wrong_kind_is_left_out(tiny, capsys, value):
    folders = finished(tiny)
    (folders[0].attempts / "9x").mkdir(parents=True)
    keys = ("time", "epoch", "step", "seconds", "val/top1", "images_per_s", "val/style/top1")
    with folders[0].metrics_file.open("a") as file:
        for key in keys:
            line = {"kind": "epoch", "time": 1.0, "epoch": 1, "step": 1, "seconds": 1.0, key: value}
            file.write(json.dumps(line) + "\n")
    assert tiny.call("local", "--status") == 0
    report.write(tiny.sweep.folder)
    assert "2 complete" in capsys.readouterr().out


def mutated(content: bytes, random_: random.Random) -> bytes:
    """The content, with a value in it replaced, a part repeated or removed, or a byte changed."""
    kind, at = random_.randrange(4), random_.randrange(len(content) + 1)
    other = random_.choice([b"null", b"-1", b"1e999", b'"x"', b"[]", b"{}", b"true", b"\xff", b"9" * 400, b"[" * 5000])
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([random_.randrange(256)]) + content[at + 1 :]
    words = content.split()
    if kind == 2 and words:
        return content.replace(random_.choice(words), other, 1)
    return content[:at] + other + content[at + random_.randrange(8) :]


def check_run_folders(grid: TinyGrid, capsys: pytest.CaptureFixture[str], rounds: int) -> None:
    """Break one file of one run, or the manifest: all commands say what is broken, and show the other run as it is."""
    (bad, good), random_ = finished(grid), random.Random(0)
    manifest = grid.sweep.folder / "manifest.json"
    files = [bad.path / name for name in FILES] + [manifest]
    sound = {file: file.read_bytes() for file in files}
    grid.call("local", "--status")
    good_row = row_of(good, capsys.readouterr().out)
    assert "complete" in good_row and "50.00" in good_row
    for _ in range(rounds):
        file = random_.choice(files)
        file.write_bytes(broken := mutated(sound[file], random_))
        shown = f"{file.name}: {broken[:2000]!r}"
        for call in (
            lambda: grid.call("local", "--status"),
            lambda: grid.call("local", "--dry-run"),
            lambda: grid.call("local", "--logs", bad.name),
            lambda: grid.call("local", "--cancel", "--yes", "--dry-run"),
            lambda: grid.call("local", "--clean", "--dry-run"),
            lambda: report.main([str(grid.sweep.folder)]),
        ):
            code, said = call(), capsys.readouterr()
            assert code in (0, 1, 2) and "Traceback" not in said.out + said.err, (shown, said)
            if code == 2:
                assert said.err.splitlines()[-1].startswith("error: "), (shown, said)
                assert str(file) in said.err or bad.name in said.err, (shown, said)
        code, said = grid.call("local", "--status"), capsys.readouterr()
        if code == 2:
            assert file == manifest and b'"format"' in broken, (shown, said)  # of a newer version
        else:
            assert row_of(good, said.out) == good_row, (shown, said)
            assert len(row_of(bad, said.out)) > 1, (shown, said)
            assert "cannot be read" not in said.out or str(bad.path) in said.out, (shown, said)
        file.write_bytes(sound[file])


def row_of(run: RunDir, table: str) -> list[str]:
    """What the table shows of a run, without the columns that depend on other runs."""
    (row,) = (line for line in table.splitlines() if line.startswith(run.name))
    return row.split()


def check_grids(tiny: TinyGrid, rounds: int) -> None:
    tiny.write()
    sound, random_ = tiny.file.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(rounds):
        tiny.file.write_bytes(mutated(sound, random_))
        try:
            expand(load(tiny.file))
        except UserError:
            refused += 1
    assert refused > rounds / 4


def test_broken_run_folders_end_in_a_sentence(trainable, capsys):
    check_run_folders(trainable, capsys, 8)


def test_broken_grids_end_in_a_sentence(tiny):
    check_grids(tiny, 60)


@pytest.mark.slow
def test_many_broken_run_folders_and_grids_end_in_a_sentence(trainable, capsys):
    signal.alarm(0)
    check_run_folders(trainable, capsys, 500)
    check_grids(trainable, 5000)
