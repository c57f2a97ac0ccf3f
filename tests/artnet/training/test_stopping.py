"""Runs that are stopped or killed resume."""

import os
import signal
from itertools import cycle

import pytest

from artnet.rundir import EXIT_STOPPED, RunDir
from artnet.training import trainer
from launch.sweep.state import State, after_exit
from shards.index import read_index
from tests.artnet import runs
from tests.artnet.training.conftest import assert_same, curves, outcomes

STEPS = 21  # of the fixture `config`


def test_a_run_stopped_by_any_signal_after_any_step_matches_an_uninterrupted_one_bit_for_bit(config, whole, tmp_path):
    cut, numbers = RunDir(tmp_path / "cut"), cycle((signal.SIGTERM, signal.SIGUSR2, signal.SIGINT))
    for step, number in zip(range(1, STEPS), numbers, strict=False):
        ended = runs.train(config, cut.path, signals=[(0, step, number)] * (1 + step % 2))
        assert ended.returncode == EXIT_STOPPED, ended.stderr
        assert f"stopped by {signal.Signals(number).name} " in ended.stderr
        assert cut.result() is None
    assert set(outcomes(cut.path)) == {"stopped"}
    assert after_exit(EXIT_STOPPED, "stopped", "")[0] is State.INTERRUPTED
    assert runs.train(config, cut.path).returncode == 0
    assert [attempt["from_step"] for attempt in cut.run()["attempts"]] == list(range(STEPS))
    assert_same(cut.path, whole(1))


def test_a_run_killed_at_some_steps_matches_an_uninterrupted_one_bit_for_bit(config, whole, tmp_path):
    cut = RunDir(tmp_path / "cut")
    for step in (3, 8, 14):  # the eighth is the first of an epoch, the fourteenth the last
        killed = runs.start(config, cut.path, signals=[(0, step, signal.SIGKILL)])
        assert killed.wait() == [-signal.SIGKILL], killed.output()
        assert cut.result() is None
    assert runs.train(config, cut.path).returncode == 0
    assert all(attempt["from_step"] > 0 for attempt in cut.run()["attempts"][1:])
    assert_same(cut.path, whole(1))


@pytest.mark.slow
def test_two_ranks_of_which_one_is_stopped_or_killed_match_uninterrupted_ones_bit_for_bit(config, whole, tmp_path):
    cut = RunDir(tmp_path / "cut")
    storms = [[(0, 3, signal.SIGTERM)], [(1, 8, signal.SIGUSR2)] * 2, [(rank, 13, signal.SIGINT) for rank in (0, 1)]]
    for signals in storms:
        stopped = runs.start(config, cut.path, 2, signals)
        assert stopped.wait() == [EXIT_STOPPED] * 2, stopped.output()
        assert outcomes(cut.path)[-1] == "stopped"
    killed = runs.start(config, cut.path, 2, [(1, 17, signal.SIGKILL)])
    assert killed.wait() == [1, -signal.SIGKILL], killed.output()
    assert "another rank has ended" in killed.output()
    assert after_exit(1, outcomes(cut.path)[-1], "")[0] is State.INTERRUPTED
    ended = runs.start(config, cut.path, 2)
    assert ended.wait() == [0, 0], ended.output()
    assert [attempt["from_step"] for attempt in cut.run()["attempts"]][:4] == [
        0,
        4,
        9,
        14,
    ]  # a step later, so that no rank waits
    assert cut.run()["attempts"][4]["from_step"] > 14
    assert_same(cut.path, whole(2))


def test_one_rank_resumes_a_run_of_two(config, whole, tmp_path):
    assert runs.start(config, tmp_path / "run", 2, [(1, 3, signal.SIGTERM)]).wait() == [EXIT_STOPPED] * 2
    assert runs.train(config, tmp_path / "run").returncode == 0
    two, one = RunDir(tmp_path / "run").run()["attempts"]
    assert (two["world_size"], one["world_size"], one["from_step"]) == (2, 1, 4)
    steps = [[line["step"] for line in RunDir(folder).metrics()] for folder in (tmp_path / "run", whole(1))]
    assert steps[0] == steps[1]
    losses = [[(line["step"], line["loss"]) for line in curves(folder) if line["kind"] == "step"] for folder in
              (tmp_path / "run", whole(2))]  # fmt: skip
    assert losses[0][:3] == losses[1][:3]


def test_a_run_stops_on_a_signal_before_it_has_started(config, tmp_path, monkeypatch):
    run, write_config = RunDir(tmp_path / "run"), RunDir.write_config

    def write_and_stop(self, config):
        write_config(self, config)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunDir, "write_config", write_and_stop)
    assert runs.train(config, run.path).returncode == EXIT_STOPPED
    assert outcomes(run.path) == ["stopped"]
    assert not run.metrics()


def test_an_interrupted_evaluation_is_repeated(run_yaml, shards, tmp_path, monkeypatch):
    config, run = run_yaml(train__batch_size=4), RunDir(tmp_path / "run")
    steps = len(read_index(shards).select("train", ("style",))[0]) // 4
    predict = trainer.predict

    def stop_and_predict(*arguments):
        os.kill(os.getpid(), signal.SIGUSR2)
        return predict(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(trainer, "predict", stop_and_predict)
        ended = runs.train(config, run.path)
    assert ended.returncode == EXIT_STOPPED
    assert "during the evaluation on val" in ended.stderr
    assert not run.epochs()
    assert runs.train(config, run.path).returncode == 0
    assert [attempt["from_step"] for attempt in run.run()["attempts"]] == [0, steps]
    assert len(run.epochs()) == 1
    assert run.epochs()[0]["train/loss"] == pytest.approx(
        sum(line["loss"] for line in run.metrics() if line["kind"] == "step") / steps
    )


def test_logged_losses_do_not_depend_on_where_a_run_was_stopped(run_yaml, tmp_path):
    config = run_yaml(train__epochs=2, train__log_every=4)
    assert runs.train(config, tmp_path / "whole").returncode == 0
    for step in (1, 2, 5, 7, 8, 11):
        ended = runs.train(config, tmp_path / "cut", signals=[(0, step, signal.SIGTERM)])
        assert ended.returncode == EXIT_STOPPED
        assert f"after step {step} of 14" in ended.stderr or step == 7  # the end of an epoch: stopped while it scored
    assert runs.train(config, tmp_path / "cut").returncode == 0
    losses = [
        [(line["step"], line.get("loss"), line.get("train/loss")) for line in RunDir(tmp_path / name).metrics()]
        for name in ("whole", "cut")
    ]
    assert losses[0] == losses[1]
