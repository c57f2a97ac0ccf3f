"""A request to stop is heeded while a process waits: for a lock, for other ranks, for a first batch."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch.distributed as dist

from artnet import stop, train
from artnet.rundir import EXIT_STOPPED
from artnet.stop import SIGNALS, StopRequest
from shards.locks import locked
from shards.remote import local_folder
from tests.artnet import runs
from tests.conftest import ROOT, environment

# A training that waits shortly once it is asked to stop.
TRAIN = "from artnet import stop, train; stop.GRACE_S = 0.2; raise SystemExit(train.main())"
# The same, whose first batch never comes.
NO_BATCH = """
import os, sys
from artnet import stop, train
from artnet.training import trainer

def load(*_):
    print("no batch", file=sys.stderr, flush=True)
    os.read(os.pipe()[0], 1)
    yield

trainer.load, stop.GRACE_S = load, 0.2
raise SystemExit(train.main())
"""


def start(code: str, *arguments: object, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=environment(**variables),
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(process: subprocess.Popen, number: int) -> None:
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == EXIT_STOPPED, said
    assert f"stopped by {signal.Signals(number).name} while waiting" in said


def test_the_wait_after_a_request_is_short():
    assert 2 * stop.GRACE_S < 10


def test_a_stop_is_heeded_while_another_process_downloads(run_yaml, shards: Path, tmp_path: Path, monkeypatch):
    config = run_yaml(data__shards=f"file://{shards}")
    monkeypatch.setenv("ARTNET_CACHE", str(tmp_path / "cache"))
    copy = local_folder(f"file://{shards}")
    with locked(copy.parent / ".lock", wait_s=0):
        process = start(TRAIN, *runs.arguments(config, tmp_path / "run"))
        assert "another process is downloading" in process.stderr.readline()
        ends(process, signal.SIGHUP)
    assert not (tmp_path / "run").exists()


def test_a_stop_is_heeded_while_ranks_wait_for_one_another(run_yaml, tmp_path: Path):
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    ranks = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    ranks["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    process = start(TRAIN, *runs.arguments(run_yaml(), tmp_path / "run"), **ranks)
    while not dist.PrefixStore("restart0", store).check(["place/0"]):
        assert process.poll() is None
        time.sleep(0.01)
    ends(process, signal.SIGTERM)


def test_a_stop_is_heeded_while_the_first_batch_is_waited_for(run_yaml, tmp_path: Path):
    process = start(NO_BATCH, *runs.arguments(run_yaml(), tmp_path / "run"))
    while "no batch" not in (line := process.stderr.readline()):
        assert line
    ends(process, signal.SIGUSR2)


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of signals are those of before at the end of a test."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_wait_that_ends_in_time_goes_on(handlers, number):
    request = StopRequest()
    with request.waiting():
        os.kill(os.getpid(), number)
    assert request.name == signal.Signals(number).name
    assert list(request.waiting_for_first(iter([1, 2]))) == [1, 2]
    assert not list(request.waiting_for_first(iter([])))


def test_a_process_started_by_nohup_goes_on_after_a_hangup(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    request = StopRequest()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not request


def test_variables_of_another_job_are_refused_before_anything_is_written(
    handlers, run_yaml, tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.setenv("RANK", "3")
    assert train.main(runs.arguments(run_yaml(), tmp_path / "run")) == 2
    assert capsys.readouterr().err.startswith("error: RANK 3 is not between 0 and WORLD_SIZE 1 - 1; start ranks with")
    assert not (tmp_path / "run").exists()
