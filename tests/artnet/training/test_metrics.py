"""Metrics: throughput, TensorBoard's final file and early stopping."""

import time

import torch

from artnet.rundir import RunDir
from artnet.training.metrics import Throughput
from tests.artnet import runs
from tests.artnet.training.conftest import events


def test_waiting_for_data_is_measured_as_a_share_of_the_time(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    throughput = Throughput(10, torch.device("cpu"))

    def slow():
        nonlocal now
        for _ in range(3):
            now += 1  # second to read a batch
            yield "batch"

    for _ in throughput.waiting(slow()):
        now += 4  # seconds to learn from it
    assert (throughput.measure()["data_wait"], now) == (0.2, 115)
    now += 5
    assert throughput.measure()["data_wait"] == 0


def test_the_final_events_exist_once_even_if_the_run_ends_twice(run_yaml, tmp_path):
    runs.train(run_yaml(), tmp_path / "run")
    run = RunDir(tmp_path / "run")
    torn = run.tensorboard / ".events.out.tfevents.final.x.tmp"
    torn.write_bytes(b"torn")
    run.result_file.unlink()  # as if it had been killed in between
    runs.train(run_yaml(), tmp_path / "run")
    assert not torn.exists()
    assert len(events(run.tensorboard).Images("confusion/val/style")) == 1


def test_training_stops_early_and_says_so_when_val_does_not_improve(run_yaml, tmp_path):
    # A learning rate so small that no prediction changes.
    output = runs.train(run_yaml(train__epochs=9, train__early_stop=2, optim__lr=1e-12), tmp_path / "run").stdout
    result = RunDir(tmp_path / "run").result()
    assert result.epochs < 9
    assert result.epochs == result.best_epoch + 2
    assert len(RunDir(tmp_path / "run").epochs()) == result.epochs
    assert result.steps == RunDir(tmp_path / "run").epochs()[-1]["step"]
    assert f"stopped early after epoch {result.epochs} of 9" in output
