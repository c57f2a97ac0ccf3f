"""Runs that cannot be lost: stopped, killed, out of room or of memory, they go on from where they were."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from artnet import checkpoint
from artnet.checkpoint import BrokenError
from artnet.config import RunConfig, unflatten
from artnet.data.dataset import SplitData
from artnet.distributed import Ranks
from artnet.errors import SavingError
from artnet.rundir import EXIT_STOPPED, RunDir
from artnet.training.checkpoints import CheckpointWriter
from artnet.training.oom import accumulate_for, doubled
from launch.sweep.state import State, after_exit
from shards.errors import UserError
from shards.index import read_index
from shards.reader import Reader
from tests.conftest import ROOT, TINY, python

CPU = torch.device("cpu")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone")


def command(config: Path, folder: Path, ranks: int = 1, *launcher: str) -> list[str]:
    program = ["-m", "artnet.train", "--config", str(config), "--run-dir", str(folder)]
    return [*TORCHRUN, f"--nproc-per-node={ranks}", *launcher, *program] if ranks > 1 or launcher else program


def train(config: Path, folder: Path, ranks: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
    return python(*command(config, folder, ranks), **environment)


class Started:
    """A training in a session of its own, as a terminal's foreground group."""

    def __init__(self, arguments: list[str], log: Path, **environment: str) -> None:
        self.log = log
        with log.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
                stdout=err,
                stderr=err,
                start_new_session=True,
            )

    def until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.005)

    def pids(self) -> list[int]:
        """The ranks' processes: torchrun's children, or the one there is."""
        own = self.process.pid
        return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()] or [own]


def curves(folder: Path) -> list[dict]:
    """What a run measured, without what depends on the clock."""
    clock = {"time", "seconds", "images_per_s", "data_wait", "memory_gib"}
    return [{key: value for key, value in line.items() if key not in clock} for line in RunDir(folder).metrics()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["learner"]["model"]


def assert_same(folder: Path, whole: Path) -> None:
    assert curves(folder) == curves(whole)
    expected = weights(whole)
    assert all(torch.equal(expected[name], value) for name, value in weights(folder).items())
    assert RunDir(folder).result().tasks == RunDir(whole).result().tasks


@pytest.fixture(scope="module")
def config(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs with a checkpoint about every half second."""
    file = tmp_path_factory.mktemp("safety") / "run.yaml"
    values = {**TINY, "data.shards": str(shards), "train.epochs": 3, "train.checkpoint_minutes": 0.01}
    file.write_text(yaml.safe_dump(unflatten(values)))
    return file


@pytest.fixture(scope="module")
def whole(config: Path) -> Callable[[int], Path]:
    """That run never stopped, by so many ranks."""

    @cache
    def folder(ranks: int) -> Path:
        ended = train(config, config.parent / f"whole{ranks}", ranks)
        assert ended.returncode == 0, ended.stderr
        return config.parent / f"whole{ranks}"

    return folder


def stop(config: Path, folder: Path, number: int, lines: int, ranks: int = 1) -> int:
    """Start a run, send it a signal, twice, when it has written so many lines more, and return its exit code."""
    run = RunDir(folder)
    before = len(run.metrics())
    started = Started(command(config, folder, ranks), folder.parent / "log")
    started.until(lambda: len(run.metrics()) >= min(before + lines, 30) and bool(run.run().get("attempts")))
    pids = started.pids()
    if number == signal.SIGKILL:
        os.kill(random.choice(pids), number)
    elif number == signal.SIGINT:
        for _ in range(2):
            os.killpg(started.process.pid, number)
    elif number == signal.SIGTERM:
        started.process.send_signal(number)
    else:
        for pid in pids * 2:
            os.kill(pid, number)
    return started.process.wait()


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_stopped_by_any_signal_at_any_step_ends_bit_for_bit_as_one_never_stopped(config, whole, tmp_path, ranks):
    cut, generator = tmp_path / "cut", random.Random()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR2, signal.SIGINT):
        code = stop(config, cut, number, generator.randint(2, 6), ranks)
        run = RunDir(cut)
        assert run.result() is None
        if number == signal.SIGKILL:
            assert code == -number or (ranks > 1 and code), (tmp_path / "log").read_text()
        else:
            last = run.run()["attempts"][-1]["outcome"]
            assert last == "stopped", (tmp_path / "log").read_text()
            # torchrun has an exit code of its own and may abort on its way out; launchers see what it was all the same.
            assert code == EXIT_STOPPED or (ranks > 1 and code), (tmp_path / "log").read_text()
            assert after_exit(code, last, "")[0] is State.INTERRUPTED
    ended = train(config, cut, ranks)
    assert ended.returncode == 0, ended.stderr
    attempts = RunDir(cut).run()["attempts"]
    assert len(attempts) == 5
    assert all(attempt["from_step"] > 0 for attempt in attempts[1:])
    assert_same(cut, whole(ranks))


def test_one_rank_goes_on_where_two_were_stopped(config, whole, tmp_path):
    stop(config, tmp_path / "run", signal.SIGTERM, 3, ranks=2)
    assert train(config, tmp_path / "run").returncode == 0
    two, one = RunDir(tmp_path / "run").run()["attempts"]
    assert (two["world_size"], one["world_size"]) == (2, 1)
    assert one["from_step"] > 0
    steps = [[line["step"] for line in RunDir(folder).metrics()] for folder in (tmp_path / "run", whole(1))]
    assert steps[0] == steps[1]
    seen = [[(line["step"], line["loss"]) for line in curves(folder) if line["kind"] == "step"] for folder in
            (tmp_path / "run", whole(2))]  # fmt: skip
    assert seen[0][: one["from_step"]] == seen[1][: one["from_step"]]


def test_a_run_asked_to_stop_before_it_began_is_stopped(config, tmp_path):
    run = RunDir(tmp_path / "run")
    started = Started(command(config, run.path), tmp_path / "log")
    started.until(run.config_file.exists)
    started.process.send_signal(signal.SIGTERM)
    started.process.send_signal(signal.SIGINT)
    assert started.process.wait() == EXIT_STOPPED
    assert [attempt["outcome"] for attempt in run.run()["attempts"]] == ["stopped"]
    assert not run.metrics()


def test_an_evaluation_is_cut_short_and_done_again(shards, tmp_path):
    values = {**TINY, "data.shards": str(shards), "eval.size": 256, "train.batch_size": 4}
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(unflatten(values)))
    run = RunDir(tmp_path / "run")
    samples = len(read_index(shards).select("train", ("style",))[0])
    started = Started(command(config, run.path), tmp_path / "log")
    started.until(lambda: len(run.metrics()) == samples // 4)
    started.process.send_signal(signal.SIGUSR2)
    assert started.process.wait() == EXIT_STOPPED
    assert "while it scored val" in (tmp_path / "log").read_text()
    assert not run.epochs()
    assert train(config, run.path).returncode == 0
    assert [attempt["from_step"] for attempt in run.run()["attempts"]] == [0, samples // 4]
    assert len(run.epochs()) == 1
    assert run.epochs()[0]["train/loss"] == pytest.approx(
        sum(line["loss"] for line in run.metrics() if line["kind"] == "step") / (samples // 4)
    )


def test_any_change_of_a_checkpoint_is_noticed(tmp_path):
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


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "of another kind"])
def test_the_checkpoint_before_stands_in_for_a_broken_one(tmp_path, damage):
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
    # What is broken does not take the good one's place.
    writer = CheckpointWriter(tmp_path, "run", last_is_good=False)
    writer.save({"step": 5})
    writer.close()
    assert checkpoint.load(tmp_path / "previous.pt", CPU) == {"step": 2}
    for name in ("last.pt", "previous.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"last\.pt is broken .* and .*previous\.pt is broken"):
        checkpoint.load_newest(tmp_path, CPU)


def test_a_run_with_a_damaged_checkpoint_says_so_and_ends_the_same(config, whole, tmp_path):
    run = RunDir(tmp_path / "run")
    stop(config, run.path, signal.SIGTERM, 16)
    last = run.checkpoints / "last.pt"
    content = bytearray(last.read_bytes())
    content[random.randrange(len(content))] ^= 4
    last.write_bytes(content)
    ended = train(config, run.path)
    assert ended.returncode == 0, ended.stderr
    said = [line for line in ended.stderr.splitlines() if "last.pt is broken" in line]
    assert len(said) == 1
    assert "going on from previous.pt" in said[0]
    assert_same(run.path, whole(1))


def test_the_best_epoch_is_made_again_from_the_last_or_missed_in_one_sentence(run_yaml, tmp_path):
    config, run = run_yaml(), RunDir(tmp_path / "run")
    assert train(config, run.path).returncode == 0
    result, best = run.result_file.read_text(), run.checkpoints / "best.pt"
    content = best.read_bytes()
    run.result_file.unlink()
    best.write_bytes(content[:1000])
    assert train(config, run.path).returncode == 0
    assert json.loads(result)["tasks"] == json.loads(run.result_file.read_text())["tasks"]
    state = checkpoint.load(run.checkpoints / "last.pt", CPU)
    run.result_file.unlink()
    best.unlink()
    state["progress"]["step"] += 1  # as if the best epoch were not the last
    checkpoint.save(run.checkpoints / "last.pt", state)
    ended = train(config, run.path)
    assert ended.returncode == 2
    assert "best.pt, the weights of epoch 1, is missing or broken" in ended.stderr.splitlines()[-1]


def test_what_is_saved_is_what_was_when_it_was_asked_for(tmp_path):
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
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A file system of so many MB, which can be made larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def size(megabytes: int) -> Path:
        options = f"size={megabytes}m" + (",remount" if folder.is_mount() else "")
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
        return folder

    yield size
    if folder.is_mount():
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_waited_for_and_leaves_the_old_checkpoint(small_disk, capfd):
    folder = small_disk(10)
    writer = CheckpointWriter(folder, "run", last_is_good=False)
    small, large = {"step": 1}, {"step": 2, "weights": torch.zeros(3_000_000)}
    writer.save(small, small)
    for failures in (1, 2):
        writer.save(large, large)
        writer.wait()
        assert (writer.has_failed(), writer.has_given_up()) == (True, False), failures
    assert capfd.readouterr().err.count("warning") == 1
    assert checkpoint.load_newest(folder, CPU) == (small, [])
    assert sorted(path.name for path in folder.iterdir()) == ["best.pt", "last.pt"]
    writer.save(large)
    writer.wait()
    assert writer.has_given_up()
    with pytest.raises(SavingError, match="No space left on device"):
        writer.raise_error()
    small_disk(60)
    writer.save({"step": 3})
    writer.close()
    assert not writer.has_failed()
    assert checkpoint.load(folder / "last.pt", CPU) == {"step": 3}
    assert checkpoint.load(folder / "best.pt", CPU)["step"] == 2  # it was owed


def test_a_run_out_of_room_ends_clearly_and_goes_on_when_there_is_some(config, whole, small_disk):
    run = RunDir(small_disk(150) / "run")
    ended = train(config, run.path)
    assert ended.returncode == 1, ended.stderr
    assert "No space left on device" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert run.result() is None
    assert not list(run.path.rglob("*.tmp"))
    small_disk(600)
    ended = train(config, run.path)
    assert ended.returncode == 0, ended.stderr
    assert run.run()["attempts"][-1]["from_step"] > 0
    assert_same(run.path, whole(1))


def test_a_dead_rank_takes_the_job_down_and_torchrun_restarts_it(config, whole, tmp_path):
    run = RunDir(tmp_path / "run")
    started = Started(command(config, run.path, 2, "--max-restarts=1"), tmp_path / "log")
    started.until(lambda: len(run.metrics()) > 12)
    os.kill(started.pids()[1], signal.SIGKILL)
    assert started.process.wait() == 0, (tmp_path / "log").read_text()
    assert "another rank has ended" in (tmp_path / "log").read_text()
    assert after_exit(1, run.run()["attempts"][0]["outcome"], "")[0] is State.INTERRUPTED
    assert [attempt["from_step"] > 0 for attempt in run.run()["attempts"]] == [False, True]
    assert_same(run.path, whole(2))


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_hangs_is_named(config, tmp_path, rank):
    run = RunDir(tmp_path / "run")
    started = Started(command(config, run.path, 2), tmp_path / "log", ARTNET_TIMEOUT_S="5")
    started.until(lambda: len(run.metrics()) > 2)
    pid = started.pids()[rank]
    os.kill(pid, signal.SIGSTOP)
    started.until(lambda: "did not answer in time" in (tmp_path / "log").read_text())
    os.kill(pid, signal.SIGKILL)
    assert started.process.wait()
    assert f"{run.name}: rank {rank} did not answer in time" in (tmp_path / "log").read_text()


def test_a_loss_that_is_no_number_names_its_paintings(run_yaml, tmp_path, shards):
    config = run_yaml(train__log_every=4)
    diverge = (
        "from artnet import train; from artnet.training import learner; "
        "learner.learning_rate = lambda step, *_: 1e30 if step == 1 else 0.01; exit(train.main())"
    )
    run = RunDir(tmp_path / "run")
    ended = python("-c", diverge, "--config", config, "--run-dir", run.path)
    assert ended.returncode == 1, ended.stderr
    found = json.loads(run.bad_batch_file.read_text())
    assert f"in step {found['step']}, whose 16 paintings are named in {run.bad_batch_file}" in ended.stderr
    assert (found["step"], found["epoch"]) == (3, 1)
    index = read_index(shards)
    data = SplitData(run.config(), "train", index, Reader(index))
    shown = data.rows[data.plan(0).order[32:48]]
    assert found["keys"] == [str(index.table["key"][int(row)]) for row in shown]


# 400 MB are enough for a resnet18, its momentum and a checkpoint, not for the activations of 64 paintings of 224 px.
CRAMPED = (
    "import resource, torch, artnet.training.attempt; from artnet import train; "
    "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 700_000_000; "
    "resource.setrlimit(resource.RLIMIT_AS, (size, size)); exit(train.main())"
)


def test_out_of_memory_names_what_to_try_and_tries_it_if_asked(run_yaml, tmp_path):
    config = run_yaml(data__size=224, train__batch_size=64)
    run = RunDir(tmp_path / "run")
    ended = python("-c", CRAMPED, "--config", config, "--run-dir", run.path)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("\n") == 1
    for tip in ("64 paintings of 224 pixels", "train.accumulate 2", "train.batch_size 32", "data.size below 224"):
        assert tip in ended.stderr
    outcome = run.run()["attempts"][0]["outcome"]
    assert after_exit(1, outcome, "")[0] is State.OUT_OF_MEMORY
    python("-c", CRAMPED, "--config", config, "--run-dir", run.path, "--auto-accumulate")
    tried = [attempt["accumulate"] for attempt in run.run()["attempts"]]
    assert tried[:3] == [1, 2, 4]


def test_accumulation_grows_to_the_batch_of_a_rank_and_is_remembered():
    config = RunConfig.model_validate({"task": "style", "train": {"batch_size": 48, "accumulate": 3}})
    ranks = Ranks(0, 2, 2, CPU)
    assert [doubled(parts, config, ranks) for parts in (1, 3, 4, 8, 12, 24)] == [2, 6, 8, 24, 24, None]
    ran_out = {"accumulate": 6, "outcome": "failed: OutOfMemoryError: here"}
    assert accumulate_for(config, ranks, [], True) == 3
    assert accumulate_for(config, ranks, [ran_out], False) == 3
    assert accumulate_for(config, ranks, [ran_out], True) == 12
    assert accumulate_for(config, ranks, [ran_out, {"accumulate": 12, "outcome": "stopped"}], True) == 12


def test_torchrun_stopped_before_its_processes_began_was_stopped():
    words = "torch.distributed.elastic.multiprocessing.api.SignalException: Process 7 got signal: 15"
    assert after_exit(1, "", words) == (State.INTERRUPTED, "killed by SIGTERM")


def test_help_does_not_import_torch():
    shown = python("-X", "importtime", "-m", "artnet.train", "--help")
    assert shown.returncode == 0
    assert "artnet.config" in shown.stderr
    assert "| torch" not in shown.stderr.replace(" ", "").replace("|", "| ")
