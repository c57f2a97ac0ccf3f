"""Runs of milliseconds: a small network, in this process or in ranks forked from one that has imported torch."""

import contextlib
import io
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # imported late by ranks, so import it once before they are forked
import torch.distributed as dist
from torch import nn

import artnet.training.tensorboard  # noqa: F401
from artnet import train as command
from artnet.stop import SIGNALS
from artnet.training import learner
from artnet.training.learner import Learner
from tests.conftest import ROOT

# Sent by a rank to itself after a step, steps counted from 1.
Signals = Sequence[tuple[int, int, int]]

_CONTEXT = multiprocessing.get_context("forkserver")


class SmallNetwork(nn.Module):
    """A network with batch norms, dropout and a head for each task, 86,000 weights."""

    state_channels = 0

    def __init__(self, classes: Mapping[str, int], drop_path: float = 0.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 5, stride=4)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 64, 3, stride=2, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 128, 3, bias=False)
        self.drop = nn.Dropout(drop_path)
        self.heads = nn.ModuleDict({task: nn.Linear(128, n) for task, n in classes.items()})

    def features(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv1(x)).relu()
        return self.conv3(self.bn2(self.conv2(x)).relu()).mean((2, 3))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.drop(self.features(x))
        return {task: head(x) for task, head in self.heads.items()}


def build_small(*, classes: Mapping[str, int], drop_path: float = 0.0, **names: Any) -> SmallNetwork:
    """Replaces `artnet.models.build_model`."""
    return SmallNetwork(classes, drop_path)


@dataclass(frozen=True)
class Ended:
    """The exit code and output of a training."""

    returncode: int
    stdout: str
    stderr: str


def arguments(config: Path, folder: Path, *options: str) -> list[str]:
    return ["--config", str(config), "--run-dir", str(folder), *options]


def train(config: Path, folder: Path, *options: str, signals: Signals = ()) -> Ended:
    """Train in this process, with the small network."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _small(0, signals):
            code = command.main(arguments(config, folder, *options))
    finally:
        torch.set_num_threads(threads)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return Ended(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _small(rank: int, signals: Signals) -> Iterator[None]:
    """A context in which runs use the small network and this rank sends itself its signals."""
    step = Learner.step

    def and_then(self: Learner, batch: Any, number: int) -> Any:
        report = step(self, batch, number)
        for sender, when, what in signals:
            if (sender, when) == (rank, number + 1):
                os.kill(os.getpid(), what)
        return report

    with mock.patch.object(learner, "build_model", build_small), mock.patch.object(Learner, "step", and_then):
        yield


class Ranks:
    """Processes that call `target(rank, *arguments)` as peers, as torchrun starts them; all print to one log."""

    def __init__(self, ranks: int, log: Path, target: Callable[..., None], *arguments: Any, **environment: str) -> None:
        self.log = log
        log.touch()
        # The store is outside of the ranks, as with torchrun.
        self._store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self.processes: list[ForkServerProcess] = []
        _CONTEXT.set_forkserver_preload([__name__])
        with mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}):
            forkserver.ensure_running()
        for rank in range(ranks):
            variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": self._store.port}
            variables |= {"TORCHELASTIC_USE_AGENT_STORE": "True", **environment}
            known = {name: str(value) for name, value in variables.items()} if ranks > 1 else environment
            process = _CONTEXT.Process(target=_rank, args=(rank, log, known, target, arguments), daemon=True)
            process.start()
            self.processes.append(process)

    def wait(self) -> list[int]:
        """The exit codes of all ranks."""
        for process in self.processes:
            process.join(120)
            assert process.exitcode is not None, self.output()
        return [int(process.exitcode or 0) for process in self.processes]

    def output(self) -> str:
        return self.log.read_text()


def _rank(rank: int, log: Path, environment: Mapping[str, str], target: Callable[..., None], given: Any) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    torch.set_num_threads(1)
    target(rank, *given)


def start(config: Path, folder: Path, ranks: int = 1, signals: Signals = (), **environment: str) -> Ranks:
    """Train in `ranks` processes, with the small network."""
    return Ranks(ranks, folder.with_suffix(".log"), train_as_rank, arguments(config, folder), signals, **environment)


def train_as_rank(rank: int, given: list[str], signals: Signals) -> None:
    """The target of `start`."""
    with _small(rank, signals):
        sys.exit(command.main(given))


def command_as_rank(rank: int, name: str, given: list[str]) -> None:
    """A target of `Ranks`: another command of artnet, of a run that was trained with the small network."""
    with mock.patch("artnet.models.build_model", build_small):
        sys.exit(import_module(f"artnet.{name}").main(given))


def _under_torchrun() -> int:
    """Train as a rank of torchrun: $SENT lists when a signal is sent to whom, as in "0 1 12 self 9".

    That is: in the first start, by the second rank, after step 12, to itself, SIGKILL. A rank that signals its parent
    waits until torchrun has passed it on.
    """
    step = Learner.step

    def and_then(self: Learner, batch: Any, number: int) -> Any:
        report = step(self, batch, number)
        here = [os.environ["TORCHELASTIC_RESTART_COUNT"], os.environ["RANK"], str(number + 1)]
        for *when, to, what in map(str.split, os.environ["SENT"].split(",")):
            if when == here:
                os.kill(os.getpid() if to == "self" else os.getppid(), int(what))
                while to == "parent" and not signal.getsignal(int(what)).__self__:  # a StopRequest
                    time.sleep(0.01)
        return report

    with mock.patch.object(learner, "build_model", build_small), mock.patch.object(Learner, "step", and_then):
        return command.main()


if __name__ == "__main__":
    sys.exit(_under_torchrun())
