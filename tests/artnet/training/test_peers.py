"""A rank that fails ends at once, and one whose main thread is blocked ends when another has failed."""

import os
import signal
import sys
import threading
import time
from dataclasses import replace

import pytest

from artnet.distributed import peers
from artnet.distributed.group import process_group
from artnet.distributed.placement import Place
from artnet.errors import PeerLostError
from artnet.rundir import RunDir
from artnet.training.learner import Learner
from shards.errors import UserError
from tests.artnet import runs
from tests.artnet.training.conftest import outcomes

FAILURES = {
    "bug": (ValueError("a bug"), 1, "ValueError: a bug"),
    "wrong input": (UserError("wrong input"), 2, "UserError: wrong input"),
    "memory": (
        RuntimeError("NCCL error: Cuda failure 2 'out of memory'"),
        1,
        "OutOfMemoryError: out of memory",
    ),
}


def _failing(rank, arguments, failure):
    """The second rank fails in the third step, with a thread that would keep it from ending; the first is blocked."""
    peers.POLL_S, peers.NOTICE_S = 0.05, 0.2
    step = Learner.step

    def fail(self, batch, number):
        if number == 2 and rank == 0:
            time.sleep(600)
        if number == 2:
            threading.Thread(target=time.sleep, args=(600,)).start()
            raise FAILURES[failure][0]
        return step(self, batch, number)

    Learner.step = fail
    runs.train_as_rank(rank, arguments, [])


@pytest.mark.parametrize("failure", FAILURES)
def test_a_rank_that_fails_ends_at_once_and_so_does_one_that_cannot_look(config, tmp_path, failure):
    run = RunDir(tmp_path / "run")
    started = runs.Ranks(2, tmp_path / "log", _failing, runs.arguments(config, run.path), failure)
    assert started.wait() == [1, FAILURES[failure][1]], started.output()
    reason = FAILURES[failure][2]
    assert f"error: run: another rank failed: {reason}" in started.output()
    assert outcomes(run.path)[-1].startswith(f"failed: PeerLostError: another rank failed: {reason}")


def _blocked(rank, log):
    peers.POLL_S, peers.NOTICE_S = 0.05, 0.2
    with process_group() as ranks, ranks.detect_lost_peers(lambda error: print(f"rank {rank}: {error}", flush=True)):
        print("joined", flush=True)
        time.sleep(600)


def test_ranks_end_when_the_process_that_connects_them_has_ended(tmp_path):
    started = runs.Ranks(2, tmp_path / "log", _blocked, None)
    while started.output().count("joined") < 2:
        time.sleep(0.01)
    started._store = None
    assert started.wait() == [1, 1]
    assert started.output().count("the process that connects the ranks has ended") == 2


def _on_one_gpu(rank, arguments):
    here = Place.here
    Place.here = lambda device: replace(here(device), gpu="GPU-1")
    runs.train_as_rank(rank, arguments, [])


def test_two_ranks_on_one_gpu_are_refused_on_both_before_they_join(config, tmp_path):
    run = RunDir(tmp_path / "run")
    started = runs.Ranks(2, tmp_path / "log", _on_one_gpu, runs.arguments(config, run.path))
    assert started.wait() == [2, 2], started.output()
    assert started.output().count("have one GPU, GPU-1; start at most one rank for each GPU") == 2
    assert not run.run_file.exists()


def _noticing(rank, _):
    peers.POLL_S, peers.NOTICE_S = 0.05, 600.0
    with process_group() as ranks:
        if rank == 1:
            ranks.publish_failure(ValueError("a bug"))
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            with ranks.detect_lost_peers(lambda error: print("not noticed")):
                ranks.wait()
        except PeerLostError as error:
            assert str(error) == "another rank failed: ValueError: a bug"
            assert not any(thread.name == "peers" for thread in threading.enumerate())
            sys.stdout.flush()
            os._exit(7)


def test_the_report_of_the_main_thread_comes_first(tmp_path):
    started = runs.Ranks(2, tmp_path / "log", _noticing, None)
    assert started.wait() == [7, -signal.SIGKILL], started.output()
    assert "not noticed" not in started.output()
