"""Training with torchrun: a rank that dies, and a signal to torchrun."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch.distributed as dist
import yaml

from artnet.config import unflatten
from artnet.rundir import EXIT_STOPPED, RunDir
from launch.sweep.state import State, after_exit
from tests.artnet import runs
from tests.artnet.training.conftest import assert_same, outcomes
from tests.conftest import ROOT, TINY, python

TORCHRUN = ("-m", "torch.distributed.run", "--standalone")


@pytest.mark.slow
def test_torchrun_restarts_the_job_after_a_dead_rank_and_forwards_signals(config, whole, tmp_path):
    run = RunDir(tmp_path / "run")
    # In its first start the second rank kills itself after step 12, in the second it asks torchrun to stop at 17.
    program = ("-m", "tests.artnet.runs", *runs.arguments(config, run.path))
    ended = python(
        *TORCHRUN, "--nproc-per-node=2", "--max-restarts=1", *program, SENT="0 1 12 self 9, 1 1 17 parent 15"
    )
    assert ended.returncode, ended.stderr
    assert "another rank has ended" in ended.stderr
    dead, stopped = outcomes(run.path)
    assert after_exit(1, dead, "")[0] is State.INTERRUPTED
    # torchrun has its own exit code and may abort while it ends; launchers detect the reason anyway.
    assert stopped == "stopped", ended.stderr
    assert after_exit(ended.returncode, stopped, "")[0] is State.INTERRUPTED
    again = runs.start(config, run.path, 2)
    assert again.wait() == [0, 0], again.output()
    assert [attempt["from_step"] > 0 for attempt in run.run()["attempts"]] == [False, True, True]
    assert_same(run.path, whole(2))


def test_torchrun_stopped_before_its_processes_start_counts_as_stopped():
    words = "torch.distributed.elastic.multiprocessing.api.SignalException: Process 7 got signal: 15"
    assert after_exit(1, "", words) == (State.INTERRUPTED, "killed by SIGTERM")


class Started:
    """A real training of resnet18 in a session of its own, as a terminal's foreground group."""

    def __init__(self, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
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


def command(config: Path, folder: Path, ranks: int = 1, *launcher: str) -> list[str]:
    program = ["-m", "artnet.train", *runs.arguments(config, folder)]
    return [*TORCHRUN, f"--nproc-per-node={ranks}", *launcher, *program] if ranks > 1 or launcher else program


def stop(config: Path, folder: Path, number: int, steps: int, ranks: int) -> int:
    """Send a signal once a run has logged `steps` more steps. Returns the exit code."""
    run = RunDir(folder)
    before = len(run.metrics())
    started = Started(command(config, folder, ranks), folder.with_suffix(".log"))
    started.until(lambda: len(run.metrics()) >= before + steps and bool(run.run().get("attempts")))
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


# In a process without other imports: the order of imports determines what references the group.
LEAVE = """
import contextlib, pathlib, torch
from artnet.distributed.group import process_group
from artnet.errors import StoppedOnRequest

def threads():
    return {(task / "comm").read_text().strip() for task in pathlib.Path("/proc/self/task").iterdir()}

def learn(ranks):
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3, 3))
    model(torch.ones(2, 3)).sum().backward()
    assert "pt_gloo_runloop" in threads()
    if ranks.any(ranks.is_first):
        raise StoppedOnRequest

with contextlib.suppress(StoppedOnRequest), process_group() as ranks:
    learn(ranks)
assert not torch.distributed.is_initialized()
assert "pt_gloo_runloop" not in threads()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the names of threads are read in /proc")
def test_the_threads_of_a_process_group_end_with_it():
    """A remaining thread may abort the process while the interpreter is finalized."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "OMP_NUM_THREADS": "1"}
    shared["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    ranks = [
        subprocess.Popen([sys.executable, "-c", LEAVE], cwd=ROOT, env={**os.environ, **shared, "RANK": rank})
        for rank in ("0", "1")
    ]
    assert [rank.wait() for rank in ranks] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_real_training_under_many_signals_matches_an_uninterrupted_one_bit_for_bit(shards, tmp_path, ranks):
    config, generator = tmp_path / "run.yaml", random.Random()
    # More steps than four attempts take, however late a signal comes.
    values = {**TINY, "data.shards": str(shards), "train.epochs": 6, "train.checkpoint_minutes": 0.01}
    values["train.keep"] = "all"
    config.write_text(yaml.safe_dump(unflatten(values)))
    cut, log = tmp_path / "cut", tmp_path / "cut.log"
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR2, signal.SIGINT):
        code = stop(config, cut, number, generator.randint(2, 5), ranks)
        assert RunDir(cut).result() is None
        if number == signal.SIGKILL:
            assert code == -number or (ranks > 1 and code), log.read_text()
        else:
            last = outcomes(cut)[-1]
            assert last == "stopped", log.read_text()
            assert code == EXIT_STOPPED or (ranks > 1 and code), log.read_text()
            assert after_exit(code, last, "")[0] is State.INTERRUPTED
    for folder in (cut, tmp_path / "whole"):
        ended = python(*command(config, folder, ranks))
        assert ended.returncode == 0, ended.stderr
    attempts = RunDir(cut).run()["attempts"]
    assert len(attempts) == 5
    assert all(attempt["from_step"] > 0 for attempt in attempts[1:])
    assert_same(cut, tmp_path / "whole")
