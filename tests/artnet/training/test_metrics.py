"""Metrics: throughput, TensorBoard's final file and early stopping."""

import os
import socket
import time

import pytest
import torch
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from artnet.config import build, flatten
from artnet.identity import take
from artnet.rundir import RunDir
from artnet.training import metrics
from artnet.training.metrics import MetricsLogger, Throughput
from artnet.training.progress import Progress
from shards.errors import UserError
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
    torn = run.tensorboard / ".events.out.tfevents.final.x0_abcde.tmp"
    torn.write_bytes(b"torn")
    run.result_file.unlink()  # as if it had been killed in between
    runs.train(run_yaml(), tmp_path / "run")
    assert not torn.exists()
    assert len(events(run.tensorboard).Images("confusion/test/style")) == 1
    (row,) = (
        HParamsPluginData.FromString(of).session_start_info
        for tag, of in events(run.tensorboard).PluginTagToContent("hparams").items()
        if tag == SESSION_START_INFO_TAG
    )
    default = flatten(build({"task": ["style"]}))
    assert row.hparams
    assert not [key for key in row.hparams if key != "task" and flatten(run.config())[key] == default[key]]


def test_training_stops_early_and_says_so_when_val_does_not_improve(run_yaml, tmp_path):
    # A learning rate so small that no prediction changes.
    output = runs.train(run_yaml(train__epochs=9, train__early_stop=2, optim__lr=1e-12), tmp_path / "run").stdout
    result = RunDir(tmp_path / "run").result()
    assert result.epochs < 9
    top1 = [line["val/top1"] for line in RunDir(tmp_path / "run").epochs()]
    assert result.epochs == top1.index(max(top1)) + 1 + 2
    assert len(RunDir(tmp_path / "run").epochs()) == result.epochs
    assert result.steps == RunDir(tmp_path / "run").epochs()[-1]["step"]
    assert f"stopped early after epoch {result.epochs} of 9" in output


def test_an_epoch_has_one_line_even_if_its_checkpoint_was_not_written(tmp_path):
    run = RunDir(tmp_path)
    values = {"train/loss": 1.0, "val/nll": 1.0, "val/top1": 0.5, "images_per_s": 1.0}
    stopped_in_evaluation = Progress(step=7, epochs=0)
    for _ in range(2):  # the first time it is killed between the line and the checkpoint
        logger = MetricsLogger(run, stopped_in_evaluation, steps=14, epochs=2)
        logger.log("epoch", {"epoch": 1, "step": 7, **values})
        logger.close()
    assert [line["epoch"] for line in run.epochs()] == [1]
    MetricsLogger(run, Progress(step=9, epochs=1), steps=14, epochs=2).close()
    assert [line["epoch"] for line in run.epochs()] == [1]


def test_the_bar_shows_the_top1_of_the_epoch_that_has_closed(tmp_path):
    logger = MetricsLogger(RunDir(tmp_path), Progress(), steps=14, epochs=2)
    step = {"loss": 1.0, "images_per_s": 1.0, "data_wait": 0, "memory_gib": 1}
    for epoch, top1 in ((1, 0.5), (2, 0.75)):
        logger.log("step", {"epoch": epoch, "step": 7 * epoch, **step})
        logger.log("epoch", {"epoch": epoch, "step": 7 * epoch, "train/loss": 1.0, "val/nll": 1.0, "val/top1": top1,
                             "images_per_s": 1.0})  # fmt: skip
    (bar,) = logger._bar.tasks
    logger.close()
    assert "val top-1 75.0 %" in bar.fields["shown"]


def test_nothing_is_written_or_deleted_through_links_in_a_run(tmp_path, monkeypatch):
    real, theirs = tmp_path / "real", tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "deep").mkdir()
    for name in ("notes", ".notes.tmp", "deep/.a.x0_abcde.tmp"):
        (theirs / name).write_text("keep")
    real.mkdir()
    (tmp_path / "run").symlink_to(real)  # a run directory may be one itself, and its checkpoints be elsewhere
    run = RunDir(tmp_path / "run")
    run.metrics_file.symlink_to(theirs / "notes")
    run.checkpoints.symlink_to(theirs)
    host, process = socket.gethostname(), os.getpid()
    monkeypatch.setattr(time, "time", lambda: 12345.6)
    for number in range(100):
        (run.tensorboard / f"events.out.tfevents.0000012345.{host}.{process}.{number}").symlink_to(theirs / "events")
    with run.locked():
        logger = MetricsLogger(run, Progress(), steps=14, epochs=2)
        logger.log("step", {"epoch": 1, "step": 1, "loss": 1.0, "images_per_s": 1.0, "data_wait": 0, "memory_gib": 1})
        logger.close()
    assert [line["loss"] for line in run.metrics()] == [1.0]
    assert sorted(path.name for path in theirs.iterdir()) == [".notes.tmp", "deep", "notes"]
    assert (theirs / "notes").read_text() == "keep" and (theirs / "deep" / ".a.x0_abcde.tmp").exists()
    (written,) = (path for path in run.tensorboard.glob("events*") if not path.is_symlink())
    assert written.stat().st_size > 100


def test_metrics_are_not_appended_through_a_link(tmp_path, monkeypatch):
    run = RunDir(tmp_path)
    (tmp_path / "notes").write_text("keep")

    def planted(path, content):  # in the moment after it was written
        path.symlink_to("notes")

    monkeypatch.setattr(metrics, "atomic_write", planted)
    with pytest.raises(UserError, match=r"metrics.jsonl is a link or a pipe"):
        MetricsLogger(run, Progress(), steps=14, epochs=2)
    assert (tmp_path / "notes").read_text() == "keep"


@pytest.mark.parametrize("is_earlier", [False, True])
def test_tensorboard_names_a_run_as_its_folder_unless_an_earlier_version_began_it(tmp_path, is_earlier):
    run = RunDir(tmp_path / "run")
    (run.path / "tensorboard" if is_earlier else run.path).mkdir(parents=True)
    MetricsLogger(run, Progress(), steps=14, epochs=2).close()
    (written,) = tmp_path.rglob("events*")
    assert written.parent == (run.path / "tensorboard" if is_earlier else run.path)
    run.write_config(config := build({"task": ["style"]}))
    take(config.model_copy(update={"seed": 1}), run)  # it has begun nothing, so that another run has its folder
    assert not list(tmp_path.rglob("events*")) and run.tensorboard == run.path
