"""What a training says while it prints nothing else."""

import sys
import time
from queue import Queue

import pytest

from artnet import heartbeat, train
from artnet.config import load
from artnet.distributed import group
from artnet.heartbeat import Heartbeat, shown
from artnet.training import attempt, trainer
from artnet.training.learner import Learner
from artnet.training.trainer import Trainer
from tests.artnet import runs


@pytest.fixture
def at_once(monkeypatch):
    """What begins for the first time is named at once, and what goes on never again."""
    monkeypatch.setattr(heartbeat, "NEW_S", 0.0)
    monkeypatch.setattr(heartbeat, "SAME_S", 1e6)


def test_what_begins_is_named_once_and_nothing_after_the_end(at_once):
    said: Queue[str] = Queue()
    beat = Heartbeat(say=said.put)
    for what in ("training", "evaluating"):
        beat.now(what, "step 1/9")
        assert said.get(timeout=60) == f"{what}, step 1/9 (0 s)"
    with beat._changed:
        due = beat._due
    beat.now("training", "step 2/9")  # again
    assert beat._due == due > time.monotonic() + 1e5
    beat.now("saving")
    assert said.get(timeout=60) == "saving (0 s)"
    beat.close()
    assert said.empty()


def test_what_goes_on_is_named_again_with_how_far_it_is(monkeypatch):
    monkeypatch.setattr(heartbeat, "NEW_S", 0.0)
    monkeypatch.setattr(heartbeat, "SAME_S", 0.001)
    said: Queue[str] = Queue()
    beat = Heartbeat(say=said.put)
    for where in ("step 1/9", "step 2/9"):
        beat.now("training", where)
        while where not in said.get(timeout=60):
            pass
    beat.close()


def test_a_line_that_is_printed_puts_off_the_next(at_once, monkeypatch):
    monkeypatch.setattr(heartbeat, "NEW_S", 3600.0)
    said: Queue[str] = Queue()
    beat = Heartbeat(say=said.put)
    beat.now("training")
    due = beat._due
    beat.printed()
    assert beat._due > due + 1e5
    beat.close()
    assert said.empty()


def test_a_terminal_has_one_line_which_is_replaced_and_removed(monkeypatch, capsys):
    monkeypatch.setattr(heartbeat, "LIVE_S", 0.001)
    beat = Heartbeat(live=True)
    beat.now("loading torch")
    printed = ""
    while printed.count("\r\x1b[Kloading torch (0 s)\r") < 2:
        printed += capsys.readouterr().err
    beat.close()
    captured = capsys.readouterr()
    assert captured.err.endswith("\r\x1b[K\r")
    assert "\n" not in printed + captured.err + captured.out


def test_only_the_first_rank_says_it(at_once, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    with shown("loading torch"):
        assert not [thread for thread in heartbeat.threading.enumerate() if thread.name == "heartbeat"]
    monkeypatch.setenv("RANK", "0")
    printed = ""
    with shown("loading torch"):
        while not printed:
            printed = capsys.readouterr().out
    assert printed == "loading torch (0 s)\n"


def test_a_command_that_answers_on_stdout_says_it_on_stderr(at_once, capsys):
    said = ""
    with shown("loading torch", sys.stderr):
        while not said:
            captured = capsys.readouterr()
            said = captured.err
            assert captured.out == ""
    assert said == "loading torch (0 s)\n"


def test_a_process_without_memory_for_a_thread_goes_on_in_silence(at_once, monkeypatch):
    def refuse(self: heartbeat.threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(heartbeat.threading.Thread, "start", refuse)
    with shown("loading torch"):
        pass


def test_every_wait_of_a_training_is_named(run_yaml, tmp_path, at_once, monkeypatch):
    def until_named(module, name, *waits):
        """Make each call, and all after the last of these, go on only when its wait has been named."""
        call, left = getattr(module, name), list(waits)

        def slow(*arguments, **options):
            what = left.pop(0) if len(left) > 1 else left[0]
            until = time.monotonic() + 60
            while f"{what} (" not in sys.stdout.getvalue():
                assert time.monotonic() < until, f"{what}: not said in {sys.stdout.getvalue()}"
                time.sleep(0.001)
            return call(*arguments, **options)

        monkeypatch.setattr(module, name, slow)

    config = run_yaml(train__log_every=1000)
    until_named(train, "read_index", f"reading the index of {load(config).data.shards}")
    until_named(group, "process_group", "starting the device")
    until_named(attempt, "Trainer", "building the network and loading its weights")
    until_named(trainer, "load", "reading the first batch")
    until_named(Learner, "step", "taking the first step")
    until_named(Trainer, "_predict", "evaluating on val", "evaluating the best epoch on val and test")
    ended = runs.train(config, tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
