"""Checkpoints: written atomically, and verified when they are read."""

import itertools
import json
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from artnet import checkpoint
from artnet.checkpoint import BrokenError
from artnet.config import load
from artnet.distributed.ranks import Ranks
from artnet.errors import SavingError
from artnet.rundir import EXIT_STOPPED, RunDir
from artnet.training import progress
from artnet.training.checkpoints import CHECKPOINT_VERSION, CheckpointManager, CheckpointWriter
from shards.errors import UserError
from tests.artnet import runs
from tests.artnet.training.conftest import assert_same

CPU = torch.device("cpu")


def test_any_change_of_a_checkpoint_is_detected(tmp_path):
    file = tmp_path / "last.pt"
    checkpoint.save(file, {"weights": torch.randn(50, 50), "step": 3})
    assert torch.load(file, weights_only=True)["step"] == 3
    good, generator = file.read_bytes(), random.Random(0)
    places = [*range(0, len(good), 101), *range(len(good) - 80, len(good))]
    for place in places:
        file.write_bytes(good[:place] + bytes([good[place] ^ 1 << generator.randrange(8)]) + good[place + 1 :])
        with pytest.raises(BrokenError):
            checkpoint.load(file, CPU)
        file.write_bytes(good[:place])
        with pytest.raises(BrokenError):
            checkpoint.load(file, CPU)
    file.write_bytes(good + b"x")
    with pytest.raises(BrokenError):
        checkpoint.load(file, CPU)
    file.write_bytes(good)
    assert checkpoint.load(file, CPU)["step"] == 3


def test_the_error_for_a_checkpoint_of_a_newer_version_says_to_update(tmp_path):
    run = RunDir(tmp_path / "run")
    checkpoint.save(run.checkpoints / "last.pt", {"version": CHECKPOINT_VERSION + 1})
    with pytest.raises(UserError, match=r"made by a newer artnet \(format 4; this one reads up to 3\); update artnet"):
        CheckpointManager(run, "signature", "data", Ranks(0, 1, 1, CPU)).resume()


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "of another kind"])
def test_a_broken_checkpoint_is_replaced_by_the_previous_one(tmp_path, damage):
    writer = CheckpointWriter(tmp_path, "run", last_is_good=False)
    for step in (1, 2, 3):
        writer.save({"step": step})
    writer.close()
    last = tmp_path / "last.pt"
    assert checkpoint.load_newest(tmp_path, CPU) == ({"step": 3}, [])
    if damage == "missing":
        last.unlink()
    elif damage == "of another kind":
        torch.save({"step": 4}, last)
    else:
        last.write_bytes(last.read_bytes()[:-1] if damage == "truncated" else b"")
    state, wrong = checkpoint.load_newest(tmp_path, CPU)
    assert state == {"step": 2}
    assert len(wrong) == 1
    # A broken checkpoint does not replace a good one.
    writer = CheckpointWriter(tmp_path, "run", last_is_good=False)
    writer.save({"step": 5})
    writer.close()
    assert checkpoint.load(tmp_path / "previous.pt", CPU) == {"step": 2}
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"last\.pt is broken .* and .*previous\.pt is broken"):
        checkpoint.load_newest(tmp_path, CPU)


def test_a_run_with_a_damaged_checkpoint_warns_and_gives_the_same_result(config, whole, tmp_path):
    run = RunDir(tmp_path / "run")
    assert runs.train(config, run.path, signals=[(0, 16, signal.SIGTERM)]).returncode == EXIT_STOPPED
    last = run.checkpoints / "last.pt"
    content = bytearray(last.read_bytes())
    content[random.randrange(len(content))] ^= 4
    last.write_bytes(content)
    ended = runs.train(config, run.path)
    assert ended.returncode == 0, ended.stderr
    broken = [line for line in ended.stderr.splitlines() if "last.pt is broken" in line]
    assert len(broken) == 1
    assert "resuming from previous.pt" in broken[0]
    assert_same(run.path, whole(1))


def test_a_missing_best_checkpoint_is_rewritten_from_the_last_or_reported_in_one_sentence(run_yaml, tmp_path):
    config, run = run_yaml(train__keep="all"), RunDir(tmp_path / "run")
    assert runs.train(config, run.path).returncode == 0
    result, best = run.result_file.read_text(), run.checkpoints / "best.pt"
    content = best.read_bytes()
    run.result_file.unlink()
    best.write_bytes(content[:1000])
    assert runs.train(config, run.path).returncode == 0
    assert json.loads(result)["tasks"] == json.loads(run.result_file.read_text())["tasks"]
    state = checkpoint.load(run.checkpoints / "last.pt", CPU)
    run.result_file.unlink()
    best.unlink()
    state["progress"]["step"] += 1  # as if the best epoch were not the last
    checkpoint.save(run.checkpoints / "last.pt", state)
    ended = runs.train(config, run.path)
    assert ended.returncode == 2
    assert "best.pt, the weights of epoch 1, is missing or broken" in ended.stderr.splitlines()[-1]


@pytest.fixture
def early_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every epoch is worse than the one before."""
    higher = itertools.count()
    monkeypatch.setattr(progress, "mean_top1", lambda scores: next(higher))  # called for an epoch, then for the best


def test_a_complete_run_keeps_its_best_checkpoint_and_makes_a_lost_result_again_from_it(run_yaml, tmp_path, early_best):
    config, run = run_yaml(train__epochs=3), RunDir(tmp_path / "run")
    assert runs.train(config, run.path).returncode == 0
    assert [path.name for path in run.checkpoints.iterdir()] == ["best.pt"]
    before, metrics, best = run.result(), run.metrics_file.read_bytes(), (run.checkpoints / "best.pt").read_bytes()
    assert (before.best_epoch, before.epochs, before.steps) == (1, 3, 21)
    run.result_file.unlink()
    ended = runs.train(config, run.path)
    assert ended.returncode == 0, ended.stderr
    again = run.result()
    assert again.model_copy(update={"seconds": before.seconds}) == before
    assert run.run()["attempts"][-1]["from_step"] == 21
    assert (run.metrics_file.read_bytes(), (run.checkpoints / "best.pt").read_bytes()) == (metrics, best)


def test_all_checkpoints_of_a_complete_run_stay_if_asked_and_best_alone_never_trains_again(
    run_yaml, tmp_path, early_best
):
    config, run = run_yaml(train__epochs=3, train__keep="all"), RunDir(tmp_path / "run")
    assert runs.train(config, run.path, signals=[(0, 20, signal.SIGTERM)]).returncode == EXIT_STOPPED
    kept = {path.name: path.read_bytes() for path in run.checkpoints.iterdir()}
    assert set(kept) == {"best.pt", "last.pt", "previous.pt"}
    for name in ("last.pt", "previous.pt"):  # the best epoch's checkpoint does not say how the training went on
        (run.checkpoints / name).unlink()
    ended = runs.train(config, run.path)
    assert ended.returncode == 2
    assert "best.pt, of epoch 1, is the only checkpoint, and the training cannot go on from it" in ended.stderr
    assert {path.name: path.read_bytes() for path in run.checkpoints.iterdir()} == {"best.pt": kept["best.pt"]}
    for name, content in kept.items():
        (run.checkpoints / name).write_bytes(content)
    assert runs.train(config, run.path).returncode == 0
    assert {path.name for path in run.checkpoints.iterdir()} == set(kept)
    assert load(config).signature == load(run_yaml(train__epochs=3)).signature


def test_a_disk_too_full_for_the_best_checkpoint_keeps_the_last_one(run_yaml, tmp_path, early_best, monkeypatch):
    save = checkpoint.save

    def full(file: Path, state: dict, previous: Path | None = None) -> None:
        if state["progress"]["epochs"] == 2 and file.name == "best.pt":
            raise OSError(28, "No space left on device")
        save(file, state, previous)

    monkeypatch.setattr(checkpoint, "save", full)
    run = RunDir(tmp_path / "run")
    assert runs.train(run_yaml(train__epochs=2), run.path).returncode == 0
    assert run.result()
    assert {path.name for path in run.checkpoints.iterdir()} == {"best.pt", "last.pt", "previous.pt"}


def test_a_checkpoint_has_the_values_at_the_time_of_the_save(tmp_path):
    state = {"weights": torch.zeros(2_000_000), "list": [torch.zeros(3)]}
    writer = CheckpointWriter(tmp_path, "run", last_is_good=False)
    writer.save(state)
    state["weights"].fill_(1)
    state["list"][0].fill_(1)
    writer.close()
    saved = checkpoint.load(tmp_path / "last.pt", CPU)
    assert not saved["weights"].any()
    assert not saved["list"][0].any()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[float], Path]]:
    """A file system of a given size in MB, which can be enlarged."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def size(megabytes: float) -> Path:
        options = f"size={round(1024 * megabytes)}k" + (",remount" if folder.is_mount() else "")
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
        return folder

    yield size
    if folder.is_mount():
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_tolerated_for_a_while_and_keeps_the_old_checkpoint(small_disk, capfd):
    folder = small_disk(10)
    writer = CheckpointWriter(folder, "run", last_is_good=False)
    small, large = {"step": 1}, {"step": 2, "weights": torch.zeros(3_000_000)}
    writer.save(large)
    writer.wait()
    assert "No space left on device); there is none yet and the training continues" in capfd.readouterr().err
    with pytest.raises(SavingError, match="start the run again from the beginning, as there is none yet"):
        writer.raise_error()
    writer.save(small, small)
    for failures in (1, 2):
        writer.save(large, large)
        writer.wait()
        assert (writer.has_failed(), writer.has_given_up()) == (True, False), failures
    warned = capfd.readouterr().err
    assert warned.count("warning") == 1
    assert "the previous one is kept" in warned
    assert checkpoint.load_newest(folder, CPU) == (small, [])
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "last.pt"]
    writer.save(large)
    writer.wait()
    assert writer.has_given_up()
    with pytest.raises(SavingError, match=r"No space left on device.*again to resume from the previous one"):
        writer.raise_error()
    small_disk(60)
    writer.save({"step": 3})
    writer.close()
    assert not writer.has_failed()
    assert checkpoint.load(folder / "last.pt", CPU) == {"step": 3}
    assert checkpoint.load(folder / "best.pt", CPU)["step"] == 2  # written later


def test_a_run_on_a_full_disk_fails_clearly_and_resumes_once_there_is_space(config, whole, small_disk):
    size = (whole(1) / "checkpoints" / "last.pt").stat().st_size / 2**20
    run = RunDir(small_disk(2.5 * size) / "run")
    ended = runs.train(config, run.path)
    assert ended.returncode == 1, ended.stderr
    assert "No space left on device" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert run.result() is None
    assert not list(run.path.rglob("*.tmp"))
    small_disk(10 * size)
    ended = runs.train(config, run.path)
    assert ended.returncode == 0, ended.stderr
    assert run.run()["attempts"][-1]["from_step"] > 0
    assert_same(run.path, whole(1))
