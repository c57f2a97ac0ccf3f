"""Files of a run's folder that are made to stop whoever reads them: the run cannot be read, all others are shown."""

import json
import os
import random
import signal
from collections.abc import Iterator

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


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """A test that hangs fails."""

    def over(*_: object) -> None:
        raise TimeoutError("still reading")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


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


def test_aliases_of_aliases_are_not_followed(tiny, capsys):
    folders = finished(tiny)
    folders[0].config_file.write_text(BOMB)
    assert tiny.call("local", "--status") == 0
    assert "2 complete" in capsys.readouterr().out
    with pytest.raises(UserError, match="once its aliases are followed"):
        folders[0].config()


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


def check_run_folders(tiny: TinyGrid, capsys: pytest.CaptureFixture[str], rounds: int) -> None:
    folders, random_ = finished(tiny), random.Random(0)
    files = [folders[0].path / name for name in FILES] + [tiny.sweep.folder / "manifest.json"]
    sound = {file: file.read_bytes() for file in files}
    for _ in range(rounds):
        file = random_.choice(files)
        file.write_bytes(mutated(sound[file], random_))
        for options in (["--status"], ["--dry-run"]):
            assert tiny.call("local", *options) in (0, 1, 2)
        assert report.main([str(tiny.sweep.folder)]) in (0, 1, 2)
        capsys.readouterr()
        file.write_bytes(sound[file])


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


def test_broken_run_folders_end_in_a_sentence(tiny, capsys):
    check_run_folders(tiny, capsys, 8)


def test_broken_grids_end_in_a_sentence(tiny):
    check_grids(tiny, 60)


@pytest.mark.slow
def test_many_broken_run_folders_and_grids_end_in_a_sentence(tiny, capsys):
    signal.alarm(0)
    check_run_folders(tiny, capsys, 500)
    check_grids(tiny, 5000)
