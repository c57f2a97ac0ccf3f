"""Starts the process that drives Ray and ends it: Ray may hang or die, the launcher does neither."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from artnet.rundir import RunDir
from shards.errors import UserError

from ..console import say
from ..host.sessions import kill_session, processes_of
from ..host.signals import STOP, handled
from ..sweep.attempt import training_process
from ..sweep.folder import note_state
from ..sweep.state import State
from . import ray_cluster
from .driver import Order

POLL_S = 0.2
START_S = 120.0  # for Ray to start
JOIN_S = 9.0  # for a cluster to answer
SAVE_S = 8.0  # for the trainings to save a checkpoint after a request to stop
JOB_SAVE_S = 90.0  # the same in a job, of which SLURM kills what is left
STARTS = 3  # of Ray, in one launch
JOB_STARTS = 10  # the same in a job: a busy node is slower than Ray allows, and nobody starts the search again

Show = Callable[[dict[str, Any]], None]
OrderIn = Callable[[Path, bool], Order | None]


class Supervisor:
    """Carries out the orders of a search, and restarts Ray where it is lost. `show` gets every event of the driver.

    `in_job`: in a job of SLURM, which asks with several signals, nobody asks twice.
    """

    def __init__(self, log: Path, show: Show, idle: Callable[[], None], in_job: bool = False) -> None:
        self.log = log
        self.show = show
        self.idle = idle
        self.in_job = in_job
        self.requests = 0

    def carry_out(self, order_in: OrderIn, active: Callable[[], list[RunDir]]) -> bool:
        """Train until nothing is left. Returns False if it was stopped on request or Ray does not stay alive.

        `order_in` makes the order for a driver in a private folder; None if nothing is left. It is told whether Ray was
        lost before.
        `active` are the runs that may be training. Raises `UserError` if the cluster to join does not answer.
        """
        starts = JOB_STARTS if self.in_job else STARTS
        with handled(self._stop, (*STOP, signal.SIGUSR2) if self.in_job else STOP):
            for number in range(starts):
                with ray_cluster.private_folder() as folder:
                    order = order_in(folder, number > 0)
                    if order is None or self._drive(order):
                        return True
                    if self.requests:
                        self._end_trainings(active())
                        return False
        say(f"Ray has ended {starts} times; its own output is in {self.log}")
        self._end_trainings(active())
        return False

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.in_job and self.requests:
            return
        self.requests += 1
        if self.requests == 1:
            again = "" if self.in_job else " (once more: at once, without)"
            say(f"stopping: every run saves a checkpoint at its next step{again}")

    def _drive(self, order: Order) -> bool:
        """Start a driver and wait for its end. Returns whether it has done all."""
        with self._driver(order) as (driver, events):
            began, is_ready, looked = time.monotonic(), False, time.monotonic()
            while not self.requests:
                try:
                    event = events.get(timeout=POLL_S)
                except queue.Empty:
                    event = {}
                if self.requests:  # SLURM signals Ray's processes too
                    break
                if event is None:
                    say("Ray has ended unexpectedly; it is started again, and the runs go on")
                    return False
                if "done" in event:
                    return True
                if "refused" in event:
                    raise UserError(event["refused"])
                if "failed" in event:
                    say(f"Ray failed ({event['failed']}); it is started again, and the runs go on")
                    return False
                is_ready = is_ready or "dashboard" in event
                if event:
                    self.show(event)
                if not is_ready and time.monotonic() - began > (JOIN_S if order.address else START_S):
                    self._refuse(order)
                if is_ready and not order.address and time.monotonic() - looked > 1:
                    looked = time.monotonic()
                    names = processes_of(driver.pid).values()
                    is_lost = Path("/proc/self").exists() and driver.poll() is None and "raylet" not in names
                    if is_lost and not self.requests:
                        say("a process of Ray was killed; Ray is started again, and the runs go on")
                        return False
                self.idle()
        return False

    def _refuse(self, order: Order) -> None:
        if order.address:
            raise UserError(f"--address {order.address}: no Ray cluster answers there; leave it out to start one here")
        raise UserError(f"Ray does not start; its own output is in {self.log}")

    @contextlib.contextmanager
    def _driver(self, order: Order) -> Iterator[tuple[subprocess.Popen[bytes], "queue.Queue[Any]"]]:
        """A driver at work, and its events; None when it has ended. At the end, all processes of Ray are killed."""
        written = order.folder / "order.json"
        written.write_text(order.model_dump_json())
        command = [sys.executable, "-P", "-m", "launch.search.driver", str(written)]
        variables = ray_cluster.environment(order.folder, os.environ, order.address is not None, order.nodes > 1)
        with self.log.open("wb") as log:
            driver = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=variables,
                start_new_session=True,
            )
        events: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=_read, args=(driver, events), daemon=True).start()
        try:
            yield driver, events
        finally:
            kill_session(driver.pid)
            driver.wait()

    def _end_trainings(self, folders: list[RunDir]) -> None:
        """Wait until these runs have saved a checkpoint, for some seconds; asked again, kill them."""
        until = time.monotonic() + (JOB_SAVE_S if self.in_job else SAVE_S)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for folder in folders:
                if (process := training_process(folder)) is not None:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        (os.kill if number == signal.SIGTERM else os.killpg)(process, number)
            while any(folder.is_locked() for folder in folders) and self.requests < 2 and time.monotonic() < until:
                time.sleep(POLL_S)
            if self.requests < 2:
                break
        for folder in folders:
            if folder.is_locked():
                say(f"{folder.name} is still at work on a step; it saves a checkpoint when that is done")
            elif folder.state().state == State.RUNNING:
                note_state(folder, State.INTERRUPTED, "stopped on request")


def _read(driver: "subprocess.Popen[bytes]", events: "queue.Queue[Any]") -> None:
    for line in driver.stdout or ():
        with contextlib.suppress(ValueError):
            events.put(json.loads(line))
    events.put(None)
