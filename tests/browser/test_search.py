"""What a search shows in a browser, opened as its printed lines say."""

import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artnet.rundir import EXIT_STOPPED
from tests.conftest import ROOT, environment
from tests.launch.tiny_grid import TinyGrid


@pytest.fixture
def search(tmp_path: Path, shards: Path) -> Iterator[tuple[TinyGrid, list[str]]]:
    """A search at work, whose two runs have closed an epoch and go on for long, and the lines that it has printed."""
    grid = TinyGrid(tmp_path, str(shards))
    space = {"optim.lr": {"loguniform": [0.01, 0.2]}, "optim.schedule": {"choice": ["cosine", "step"]}}
    grid.write(parameters=space, fixed={"train.epochs": 2000}, tune={"trials": 2, "max_parallel": 2})
    launcher = subprocess.Popen(
        grid.command("tune"), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert launcher.stderr is not None
    lines: list[str] = []
    try:
        while sum(" epoch 1 " in line for line in lines) < 2 and (line := launcher.stderr.readline()):
            lines.append(line.rstrip())
        yield grid, lines
        launcher.send_signal(signal.SIGINT)
        launcher.stderr.read()
        assert launcher.wait(120) == EXIT_STOPPED, lines
    finally:
        launcher.kill()
        launcher.stderr.close()


@pytest.fixture
def tensorboard(search: tuple[TinyGrid, list[str]]) -> Iterator[str]:
    """The address of TensorBoard, started as the search says."""
    said = next(line.partition("curves: ")[2] for line in search[1] if line.startswith("curves: "))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [sys.executable, "-m", "tensorboard.main", *shlex.split(said)[1:], "--port", str(port)]
    server = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    assert any(f":{port}/" in line for line in server.stderr)  # that it is ready
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()
    server.stderr.close()


@pytest.mark.slow
def test_the_dashboards_show_each_trial_by_the_name_of_its_run(search: Any, tensorboard: str, page: Any) -> None:
    grid, lines = search
    names = [run.name for run in grid.folders]
    assert len(names) == 2
    printed = next(line for line in lines if line.startswith("Ray dashboard: "))
    dashboard, token = re.fullmatch(r"Ray dashboard: (\S+) +its token: (\S+)", printed).groups()  # type: ignore[union-attr]
    page.goto(f"{dashboard}/#/actors")
    page.locator("input[type=password]").fill(Path(token).read_text())
    page.get_by_role("button", name="Submit").click()
    for name in names:
        page.get_by_text(name).first.wait_for()
    assert page.get_by_text("TrialActor").count() == 2
    page.goto(f"{tensorboard}/#hparams")
    for name in names:
        page.get_by_text(name).first.wait_for()
        assert page.get_by_text(f"{name}/").count() == 0
    for title in ("optim.lr", "optim.schedule", "val/top1"):
        assert page.get_by_text(title, exact=True).count() >= 1
    assert page.get_by_text("train.epochs").count() == 0  # it does not vary
