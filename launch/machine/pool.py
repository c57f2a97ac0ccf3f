"""Trainings on this machine, each in a slot, as many at a time as fit."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from artnet.rundir import RunDir
from shards.errors import UserError
from shards.locks import by_whom

from ..console import say
from ..host.gpu_locks import GpuLocks
from ..host.slots import Slot
from ..sweep.attempt import TrainingProcess, attempt_folder, next_attempt, training_command
from ..sweep.folder import SweepDir, cancelled_since, find_run, note_state
from ..sweep.plan import Decision, to_start
from ..sweep.state import State

POLL_S = 0.2
HERE = ("local", "tune")  # the engines that train on this machine themselves
PLAIN_EVERY_S = 30.0  # between two lines about progress, without a terminal


@dataclass
class Active:
    """A run in a slot. `process` is None for one that an earlier launcher left running."""

    decision: Decision
    folder: RunDir
    process: TrainingProcess | None = None
    bar: TaskID | None = None

    def stop(self) -> None:
        """Ask the training to stop, if it is ours to stop."""
        if self.process:
            self.process.stop()


@dataclass
class Pool:
    """Runs the trainings of a plan on this machine, each in a slot."""

    sweep: SweepDir
    slots: Sequence[Slot]
    processes: int
    bars: Progress
    total: int
    stopping: bool = False
    active: dict[int, Active] = field(default_factory=dict)
    ended: list[Active] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    gpu_locks: GpuLocks | None = field(default_factory=GpuLocks)
    in_use: set[str] = field(default_factory=set)  # GPUs of other launchers, of which the user knows

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal to stop: let every run stop at its next step."""
        if not self.stopping:
            say("stopping: every run saves a checkpoint at its next step")
        self.stopping = True
        for active in self.active.values():
            active.stop()

    def carry_out(self, decisions: Sequence[Decision]) -> None:
        """Train all runs to be started or resumed, and wait for those that an earlier launcher left running."""
        running = [decision for decision in decisions if is_left_running(decision)]
        waiting = to_start(decisions)
        for number, decision in enumerate(running, start=1):
            folder = self.sweep.run(decision.run)
            # A run of an unknown slot gets a negative number: it takes no slot of ours.
            slot = folder.state().slot
            self.active[-number if slot is None or slot in self.active else slot] = Active(decision, folder)
            say(f"{folder.name}: still running since an earlier launch{by_whom(folder.lock_file)}, waiting for it")
        overall = self.bars.add_task("all runs", total=self.total, shown=f"0 of {self.total}")
        last_line = time.monotonic()
        while self.active or (waiting and not self.stopping):
            for slot in range(len(self.slots)):
                while waiting and (why := self._why_not(self.sweep.run(waiting[0].run))):
                    say(f"{waiting.pop(0).run.config.name}: {why} before it began")
                if slot not in self.active and waiting and not self.stopping:
                    locks = self._claim(slot, self.sweep.run(waiting[0].run))
                    if locks is None:
                        continue
                    self.active[slot] = self._start(waiting.pop(0), slot, locks)
                    if self.stopping:  # the signal came while it was being started
                        self.active[slot].stop()
            for slot, active in list(self.active.items()):
                self._show(active)
                if self.stopping and active.process is None:
                    del self.active[slot]  # it is not ours to stop
                elif self._has_ended(active):
                    del self.active[slot]
                    found = find_run(active.folder, active.decision.run.config.signature)
                    if active.process is None and found.state is State.INTERRUPTED:
                        waiting.insert(0, active.decision)
                    self.ended.append(active)
                    self.bars.update(overall, completed=self._done, shown=f"{self._done} of {self.total}")
            if self.active and not self.bars.console.is_terminal and time.monotonic() - last_line > PLAIN_EVERY_S:
                last_line = time.monotonic()
                say(", ".join(map(self._progress_line, self.active.values())))
            time.sleep(POLL_S)

    def _claim(self, slot: int, folder: RunDir) -> list[int] | None:
        """The locks of a slot's GPUs, for the run to inherit; None if another launcher uses one of them."""
        gpus = self.slots[slot].gpus
        if not gpus or self.gpu_locks is None:
            return []
        try:
            held = self.gpu_locks.claim(gpus, str(folder.path))
        except (UserError, OSError) as error:
            say(f"warning: {error}; until then, runs of other launchers may get the same GPUs")
            self.gpu_locks = None
            return []
        if held is None and not self.in_use.issuperset(gpus):
            self.in_use |= {*gpus}
            users = ", ".join(dict.fromkeys(filter(None, map(self.gpu_locks.user, gpus))))
            say(f"GPU {', '.join(gpus)}: in use by another launcher ({users}); no run starts there before it is free")
        return held

    def _start(self, decision: Decision, slot: int, locks: Sequence[int]) -> Active:
        config, folder = decision.run.config, self.sweep.run(decision.run)
        logs = attempt_folder(folder, next_attempt(folder))
        note_state(folder, State.RUNNING, launcher="local", slot=slot)
        process = TrainingProcess.start(
            folder,
            training_command(folder, self.processes),
            logs / "stdout",
            logs / "stderr",
            self.slots[slot].environment(),
            self.slots[slot].cpus,
            start_new_session=True,  # Ctrl-C reaches the launcher alone, which passes it on once
            pass_fds=locks,
        )
        for lock in locks:  # the training holds them now
            os.close(lock)
        bar = self.bars.add_task(folder.name, total=config.train.epochs, shown="starting")
        return Active(decision, folder, process, bar)

    def _has_ended(self, active: Active) -> bool:
        if active.process is None:
            return not active.folder.is_locked()
        code = active.process.exit_code
        if code is None:
            return False
        state, reason = active.process.judge(active.decision.run.config.signature)
        if state is not State.COMPLETE:
            if active.folder.is_locked():
                active.process = None  # a process of an earlier launch was faster: wait for that one
                return False
            if self.stopping:
                state, reason = State.INTERRUPTED, "stopped on request"
            if self._was_cancelled(active.folder):
                state, reason = State.CANCELLED, active.folder.state().reason
        note_state(active.folder, state, reason, exit_code=code)
        if active.bar is not None:
            self.bars.remove_task(active.bar)
        ended = state.replace("_", " ") + (f", {reason}" if reason else "")
        say(f"{self._progress_line(active)}: {ended} ({self._done + 1} of {self.total})")
        return True

    def _why_not(self, folder: RunDir) -> str:
        """Why a run that waits is not to be started any more; empty if it is."""
        if not folder.config_file.exists():
            return "its folder was deleted"
        return "cancelled" if self._was_cancelled(folder) else ""

    def _was_cancelled(self, folder: RunDir) -> bool:
        """Whether another process has cancelled the run since this launcher started."""
        return cancelled_since(folder, self.began)

    @property
    def _done(self) -> int:
        """How many runs of this launcher have ended; those of earlier launches are not in the total."""
        return sum(active.process is not None for active in self.ended)

    def _show(self, active: Active) -> None:
        if active.bar is None or not self.bars.console.is_terminal:
            return
        epochs = active.folder.epochs()
        if epochs:
            self.bars.update(active.bar, completed=epochs[-1]["epoch"], shown=_epoch_line(epochs[-1]))

    def _progress_line(self, active: Active) -> str:
        epochs = active.folder.epochs()
        return f"{active.folder.name} {_epoch_line(epochs[-1]) if epochs else 'starting'}"


def progress_bars(console: Console) -> Progress:
    """A bar for each run, with what is `shown` of it. A name that is too long for the terminal has two lines."""
    name = TextColumn("{task.description}", table_column=Column(overflow="fold"))
    return Progress(name, BarColumn(10), TextColumn("{task.fields[shown]}"), console=console)


def _epoch_line(epoch: Mapping[str, float]) -> str:
    return f"epoch {epoch['epoch']} val top-1 {100 * epoch.get('val/top1', math.nan):.1f} %"


def is_left_running(decision: Decision) -> bool:
    """Whether a run is being trained by a process of this machine that an earlier launcher has left behind."""
    return decision.state is State.RUNNING and decision.found.engine in HERE
