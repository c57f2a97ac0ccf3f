"""`--processes N`: signals, exit codes and messages of ranks that `artnet.train` starts itself."""

import os
import signal

import pytest

from artnet import train
from artnet.processes import RankProcesses, environment, exit_code
from artnet.rundir import EXIT_STOPPED, RunDir
from shards.index import read_index
from tests.artnet import runs
from tests.artnet.training.conftest import outcomes
from tests.artnet.training.test_torchrun import Started
from tests.conftest import python

WORDS = ("-m", "artnet.train", "--processes", "2")


@pytest.mark.parametrize(
    ("codes", "asked", "code"),
    [
        ([0, 0], [], 0),
        ([EXIT_STOPPED] * 2, [], EXIT_STOPPED),
        ([EXIT_STOPPED, -signal.SIGTERM], [signal.SIGTERM], EXIT_STOPPED),  # one that had not begun to listen
        ([], [signal.SIGINT], EXIT_STOPPED),
        ([1, 2], [], 2),
        ([EXIT_STOPPED, 2], [signal.SIGTERM], 2),
        ([1, -signal.SIGKILL], [], 1),
        ([-signal.SIGSEGV] * 2, [], 128 + signal.SIGSEGV),
    ],
)
def test_the_exit_code_is_that_of_the_ranks(codes, asked, code):
    assert exit_code(codes, asked) == code


def test_the_ranks_know_their_place_and_not_that_of_a_surrounding_job():
    around = {
        "RANK": "5",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "elsewhere",
        "TORCHELASTIC_RUN_ID": "3",
        "HOME": "/",
    }
    known = environment(around, 1, 2, 4321)
    assert known.pop("OMP_NUM_THREADS").isdecimal()
    assert known == {
        "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "4321", "TORCHELASTIC_USE_AGENT_STORE": "True", "HOME": "/",
    }  # fmt: skip
    assert environment({"OMP_NUM_THREADS": "7"}, 0, 2, 1)["OMP_NUM_THREADS"] == "7"


@pytest.mark.slow
def test_a_dead_rank_and_a_request_to_stop_end_all_ranks_and_the_run_resumes(run_yaml, tmp_path):
    config = run_yaml(train__epochs=4, train__checkpoint_minutes=0.001)
    run, log = RunDir(tmp_path / "run"), tmp_path / "log"

    def started(steps: int) -> Started:
        process = Started([*WORDS, *runs.arguments(config, run.path)], log)
        process.until(lambda: len(run.metrics()) >= steps)
        return process

    first = started(3)
    ranks = first.pids()
    os.kill(ranks[1], signal.SIGKILL)
    assert first.process.wait() == 1, log.read_text()
    assert "another rank" in log.read_text().splitlines()[-1]
    second = started(len(run.metrics()) + 2)
    second.process.send_signal(signal.SIGTERM)
    assert second.process.wait() == EXIT_STOPPED, log.read_text()
    assert "start it again to resume" in log.read_text().splitlines()[-1]
    assert "Traceback" not in log.read_text()
    assert outcomes(run.path)[-1] == "stopped"
    assert run.run()["attempts"][-1]["from_step"] > 0


@pytest.mark.slow
def test_wrong_input_is_said_without_a_traceback_and_ends_with_2(run_yaml, tmp_path):
    for wrong, said in (
        ({"train__batch_size": 51}, "cannot be divided among 2 ranks"),
        ({"optim__lr": -1}, "optim.lr"),
    ):
        ended = python(*WORDS, *runs.arguments(run_yaml(**wrong), tmp_path / "run"))
        assert ended.returncode == 2
        assert {line.startswith("error: ") and said in line for line in ended.stderr.splitlines()} == {True}


def test_a_request_to_stop_before_the_ranks_are_started_is_heeded(run_yaml, tmp_path, monkeypatch):
    def interrupted(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return read_index(*arguments)

    monkeypatch.setattr(train, "read_index", interrupted)
    monkeypatch.setattr(RankProcesses, "train", lambda *_: pytest.fail("ranks were started"))
    assert runs.train(run_yaml(), tmp_path / "run", "--processes", "2").returncode == EXIT_STOPPED
