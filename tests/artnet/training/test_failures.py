"""Failing runs: the message says what happened and what to do, and `run.json` records it for launchers."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest
import torch
import torch.distributed as dist

from artnet.config import RunConfig
from artnet.data.dataset import SplitData
from artnet.distributed import ranks
from artnet.distributed.ranks import Ranks
from artnet.rundir import RunDir
from artnet.training import learner, oom
from artnet.training.learner import Learner
from artnet.training.oom import accumulate_for, doubled
from artnet.training.trainer import Trainer
from launch.sweep.state import State, after_exit
from shards.index import read_index
from shards.reader import Reader
from tests.artnet import runs
from tests.artnet.training.conftest import outcomes
from tests.conftest import ROOT, environment, python

CPU = torch.device("cpu")


def _impatient(rank, arguments, signals):
    ranks.RANK_ANSWER_S = 1.0  # the rank that does not hang responds at once
    runs.train_as_rank(rank, arguments, signals)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_hangs_is_named(config, tmp_path, rank):
    run = RunDir(tmp_path / "run")
    given = runs.arguments(config, run.path), [(rank, 3, signal.SIGSTOP)]
    started = runs.Ranks(2, tmp_path / "log", _impatient, *given, ARTNET_TIMEOUT_S="5")
    started.processes[1 - rank].join()
    hanging = started.processes[rank]
    assert hanging.exitcode is None
    os.kill(hanging.pid, signal.SIGKILL)
    assert started.wait()[1 - rank] == 1
    assert f"{run.name}: rank {rank} did not respond in time" in started.output()


def test_a_loss_that_is_not_finite_fails_the_run_and_names_its_paintings(run_yaml, tmp_path, shards, monkeypatch):
    monkeypatch.setattr(learner, "learning_rate", lambda step, *_: 1e30 if step == 1 else 0.01)
    run = RunDir(tmp_path / "run")
    ended = runs.train(run_yaml(train__log_every=4), run.path)
    assert ended.returncode == 1, ended.stderr
    assert "lower optim.lr" in ended.stderr
    assert run.result() is None
    found = json.loads(run.bad_batch_file.read_text())
    assert f"in step {found['step']}, whose 16 paintings are named in {run.bad_batch_file}" in ended.stderr
    assert (found["step"], found["epoch"]) == (3, 1)
    index = read_index(shards)
    data = SplitData(run.config(), "train", index, Reader(index))
    shown = data.rows[data.plan(0).order[32:48]]
    assert found["keys"] == [str(index.table["key"][int(row)]) for row in shown]


def delete(folder):
    """Delete a folder in which another thread may write meanwhile."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("end", [delete, lambda folder: folder.rename(folder.with_name("moved"))])
@pytest.mark.parametrize("when", ["checkpoint", "last step", "test", "signal"])
def test_a_folder_that_goes_while_it_is_trained_in_ends_the_run_and_is_not_made_again(
    run_yaml, tmp_path, shards, monkeypatch, when, end
):
    run = RunDir(tmp_path / "run")
    last = len(read_index(shards).select("train", ("style",))[0]) // 16
    at = {"checkpoint": 3, "signal": 3, "last step": last}.get(when)
    step, test = Learner.step, Trainer._test

    def go_at_step(self, batch, number):
        if number + 1 == at:
            end(run.path)
        return step(self, batch, number)

    def go_before_test(self):
        if when == "test":
            end(run.path)
        return test(self)

    monkeypatch.setattr(Learner, "step", go_at_step)
    monkeypatch.setattr(Trainer, "_test", go_before_test)
    signals = [(0, 3, signal.SIGTERM)] if when == "signal" else []
    ended = runs.train(run_yaml(), run.path, signals=signals)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.splitlines()[-1] == (
        f"error: run: {run.config_file} is gone: the folder was deleted or moved while it was being trained; put it "
        "back, or start the run again to train it from scratch"
    )
    assert "complete" not in ended.stdout
    assert not run.path.exists()


# Enough for a resnet18, its momentum and a checkpoint, not for the activations of 64 paintings of 224 pixels.
CRAMPED = (
    "import resource, torch, artnet.training.attempt; from artnet import train; "
    "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 900_000_000; "
    "resource.setrlimit(resource.RLIMIT_AS, (size, size)); exit(train.main())"
)


@pytest.mark.slow
def test_out_of_memory_is_detected_and_retried_in_smaller_parts_with_auto_accumulate(run_yaml, tmp_path):
    run = RunDir(tmp_path / "run")
    config = run_yaml(data__size=224, train__batch_size=64)
    # With so little memory, the last attempt may abort in native code, or a thread of it never begin: it is not waited
    # for. One arena, as others take addresses.
    process = subprocess.Popen(
        [sys.executable, "-c", CRAMPED, *map(str, runs.arguments(config, run.path, "--auto-accumulate"))],
        cwd=ROOT, env=environment(MALLOC_ARENA_MAX="1"), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    late = threading.Timer(300, process.kill)
    late.start()
    try:
        said = list(itertools.takewhile(lambda line: "again with train.accumulate 4" not in line, process.stderr))
    finally:
        late.cancel()
        process.kill()
        process.wait()
    assert any("starting again with train.accumulate 2" in line for line in said), said
    attempts = run.run()["attempts"]
    assert [attempt["accumulate"] for attempt in attempts][:2] == [1, 2]
    for attempt in attempts[:2]:
        assert after_exit(1, attempt["outcome"], "")[0] is State.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of"),
        torch.AcceleratorError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("CUDA ran out of memory outside PyTorch's allocator. If this workload"),
        dist.DistBackendError("NCCL error in: NCCLUtils.hpp:77\nLast error:\nCuda failure 2 'out of memory'"),
        dist.DistBackendError("NCCL error in: NCCLUtils.hpp:77\nLast error:\nFailed to CUDA host alloc 64 bytes"),
        dist.DistBackendError("NCCL error in: NCCLUtils.hpp:77\nLast error:\nFailed to CUDA calloc async 64 bytes"),
    ],
)
def test_out_of_memory_names_what_to_try(run_yaml, tmp_path, monkeypatch, error):
    def allocate(*_):
        raise error

    monkeypatch.setattr(Learner, "step", allocate)
    ended = runs.train(run_yaml(data__size=224, train__batch_size=64), tmp_path / "run")
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    for tip in ("64 paintings of 224 pixels", "train.accumulate 2", "train.batch_size 32", "data.size below 224"):
        assert tip in ended.stderr
    assert after_exit(1, outcomes(tmp_path / "run")[0], "")[0] is State.OUT_OF_MEMORY


@pytest.mark.parametrize(("works", "attempts"), [(True, 2), (False, 1)])
def test_a_device_that_no_longer_computes_is_not_tried_again_in_the_same_process(
    run_yaml, tmp_path, monkeypatch, works, attempts
):
    step, failed = Learner.step, []

    def fail_once(self, batch, number):
        if failed:
            return step(self, batch, number)
        failed.append(number)
        raise torch.AcceleratorError("CUDA error: out of memory")

    monkeypatch.setattr(Learner, "step", fail_once)
    monkeypatch.setattr(oom, "can_retry", lambda device: works)
    ended = runs.train(run_yaml(), tmp_path / "run", "--auto-accumulate")
    assert ended.returncode == (0 if works else 1), ended.stderr
    assert len(outcomes(tmp_path / "run")) == attempts
    if not works:  # a new process begins with more parts
        assert runs.train(run_yaml(), tmp_path / "run", "--auto-accumulate").returncode == 0
        assert RunDir(tmp_path / "run").run()["attempts"][-1]["accumulate"] == 2


def test_a_device_is_tried_before_it_is_used_again(monkeypatch):
    def broken(*_, **__):
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch, "ones", broken)
    assert oom.can_retry(CPU)
    assert not oom.can_retry(torch.device("cuda", 0))


def test_accumulation_grows_to_the_batch_of_a_rank_and_is_remembered():
    config = RunConfig.model_validate({"task": "style", "train": {"batch_size": 48, "accumulate": 3}})
    ranks = Ranks(0, 2, 2, CPU)
    assert [doubled(parts, config, ranks) for parts in (1, 3, 4, 8, 12, 24)] == [2, 6, 8, 24, 24, None]
    ran_out = {"accumulate": 6, "outcome": "failed: OutOfMemoryError: here"}
    assert accumulate_for(config, ranks, [], True) == 3
    assert accumulate_for(config, ranks, [ran_out], False) == 3
    assert accumulate_for(config, ranks, [ran_out], True) == 12
    assert accumulate_for(config, ranks, [ran_out, {"accumulate": 12, "outcome": "stopped"}], True) == 12


def test_help_does_not_import_torch():
    shown = python("-X", "importtime", "-m", "artnet.train", "--help")
    assert shown.returncode == 0
    assert "artnet.config" in shown.stderr
    assert "| torch" not in shown.stderr.replace(" ", "").replace("|", "| ")
