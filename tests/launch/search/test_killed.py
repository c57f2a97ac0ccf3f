"""A search whose processes are killed: nothing is lost, nothing hangs, and every end is said in a sentence."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artnet import search_log
from artnet.rundir import EXIT_STOPPED
from launch.host.sessions import processes_of
from launch.sweep.attempt import training_process
from tests.conftest import ROOT, environment

from ..tiny_grid import TinyGrid

SPACE = {"optim.lr": {"loguniform": [0.01, 0.2]}, "data.sampler": {"choice": ["shuffle", "class_balanced"]}}
LIMIT_S = 900.0  # on a loaded machine


class Search:
    """A `launch/tune.py` at work."""

    def __init__(self, grid: TinyGrid, folder: Path, *options: str) -> None:
        self.errors = folder / "stderr"
        self.process = subprocess.Popen(
            grid.command("tune", *options), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL,
            stderr=self.errors.open("w"), start_new_session=True,
        )  # fmt: skip

    @property
    def driver(self) -> int:
        """The process that drives Ray; 0 before it has started."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        found = [child for child in children if b"launch.search.driver" in Path(f"/proc/{child}/cmdline").read_bytes()]
        return int(found[0]) if found else 0

    def wait_for(self, what: Callable[[], object]) -> object:
        """Wait until something is true, and return it."""
        until = time.monotonic() + LIMIT_S
        while not (found := what()):
            assert time.monotonic() < until and self.process.poll() is None, self.errors.read_text()
            time.sleep(0.05)
        return found

    def end(self) -> int:
        """Wait for its end. Returns the exit code."""
        return self.process.wait(LIMIT_S)


@pytest.fixture
def start(trainable: TinyGrid, tmp_path: Path) -> Iterator[Callable[..., Search]]:
    """Start a search; what is left of it is killed."""
    started: list[Search] = []

    def begin(*options: str) -> Search:
        started.append(Search(trainable, tmp_path, *options))
        return started[-1]

    yield begin
    for search in started:
        if search.process.poll() is None:
            search.process.kill()


def training(grid: TinyGrid) -> int:
    """The process of a training that has closed an epoch; 0 if there is none."""
    found = (training_process(run) for run in grid.folders if run.epochs() and not run.result() and run.is_locked())
    return next((process for process in found if process), 0)


def raylet(search: Search) -> int:
    return next((process for process, name in processes_of(search.driver).items() if name == "raylet"), 0)


def of_worker(process: int) -> int:
    """The parent of a process: the actor of a training."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["training", "actor", "raylet"])
def test_whatever_is_killed_the_search_goes_on(trainable, start, victim):
    trainable.write(
        parameters=SPACE, fixed={"train.epochs": 3}, tune={"trials": 2, "max_parallel": 1, "scheduler": "none"}
    )
    search = start()
    pid = search.wait_for(lambda: training(trainable))
    [begun] = [run.name for run in trainable.folders if run.epochs()]
    os.kill({"training": pid, "actor": of_worker(pid), "raylet": raylet(search)}[victim], signal.SIGKILL)
    assert search.end() == 0, search.errors.read_text()
    said = search.errors.read_text()
    assert "Traceback" not in said and "*** " not in said
    assert ("Ray is started again" in said) is (victim == "raylet")
    for run in trainable.folders:
        assert run.result() and [line["epoch"] for line in run.epochs()] == [1, 2, 3]
        assert len(run.run()["attempts"]) == (2 if run.name == begun else 1), said
    assert [line.n for line in search_log.read(trainable.sweep.folder / "search.jsonl")] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_ends_it_soon_and_the_same_command_goes_on(trainable, start, number, capsys):
    trainable.write(parameters=SPACE, fixed={"train.epochs": 6}, tune={"trials": 2, "max_parallel": 1})
    search = start()
    search.wait_for(lambda: training(trainable))
    began = time.monotonic()
    search.process.send_signal(number)
    assert search.end() == EXIT_STOPPED
    took = time.monotonic() - began
    assert took < 60, took  # 4 on an idle machine
    run = trainable.folders[0]
    assert run.state().state == "interrupted" and run.state().reason == "stopped on request"
    assert "Traceback" not in search.errors.read_text()
    assert not run.is_locked()
    assert start().end() == 0
    assert [line["epoch"] for line in run.epochs()] == [1, 2, 3, 4, 5, 6]
    assert trainable.call("tune", "--status") == 0


@pytest.mark.slow
def test_a_finished_search_is_repeated_without_ray(trainable, capsys, monkeypatch):
    trainable.write(parameters=SPACE, fixed={"train.epochs": 1}, tune={"trials": 1})
    assert trainable.call("tune") == 0
    monkeypatch.setattr(subprocess, "Popen", None)
    capsys.readouterr()
    assert trainable.call("tune") == 0
    assert "best: resnet18" in capsys.readouterr().out


@pytest.mark.slow
def test_a_search_whose_launcher_is_killed_again_and_again_asks_and_finds_the_same(trainable, start, tmp_path):
    block = {"trials": 8, "startup": 3, "max_parallel": 1, "grace_epochs": 1, "reduction_factor": 2}
    trainable.write(parameters=SPACE, fixed={"train.epochs": 4}, tune=block)
    whole = TinyGrid(tmp_path / "whole", trainable._shards)
    whole.write(parameters=SPACE, fixed={"train.epochs": 4}, tune=block)
    (tmp_path / "whole").mkdir(exist_ok=True)
    assert Search(whole, tmp_path / "whole").end() == 0
    rng = random.Random(0)
    for _ in range(10):
        search = start()
        lines = len(search_log.read(trainable.sweep.folder / "search.jsonl"))
        wanted = rng.choice(
            [
                lambda: training(trainable),
                lambda lines=lines: len(search_log.read(trainable.sweep.folder / "search.jsonl")) > lines,
                lambda search=search: search.driver,
            ]
        )
        until = time.monotonic() + LIMIT_S
        while not wanted() and search.process.poll() is None and time.monotonic() < until:
            time.sleep(rng.random() / 10)
        search.process.kill()
        search.end()
    assert start().end() == 0
    logs = [search_log.read(grid.sweep.folder / "search.jsonl") for grid in (trainable, whole)]
    assert [(line.n, line.values) for line in logs[0]] == [(line.n, line.values) for line in logs[1]]
    assert [run.state().stopped_epoch for run in trainable.folders] == [
        run.state().stopped_epoch for run in whole.folders
    ]
    assert (trainable.sweep.folder / "best.yaml").read_text() == (whole.sweep.folder / "best.yaml").read_text()


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_one_sentence(trainable, capsys):
    trainable.write(parameters=SPACE, tune={"trials": 1})
    began = time.monotonic()
    assert trainable.call("tune", "--address", "127.0.0.1:9") == 2
    assert time.monotonic() - began < 60  # 10 on an idle machine
    said = capsys.readouterr().err.strip().splitlines()
    assert said[-1].startswith("error: --address 127.0.0.1:9: no Ray cluster answers there")
