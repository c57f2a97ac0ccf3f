"""`python launch/local.py --grid FILE`: run a grid on this machine, as many runs at a time as fit.

Start it again after anything: it goes on with what was interrupted and does nothing twice. Ctrl-C stops the runs
at their next step.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from artnet import report
from artnet.rundir import EXIT_STOPPED, RunDir
from launch import console as cli
from launch import grid
from launch.commands import clearing
from launch.commands import options as arguments
from launch.commands import session as verbs
from launch.sweep import folder as rundir
from launch.sweep import plan
from launch.sweep.state import State, after_exit
from shards.errors import command
from shards.workers import cores

POLL_S = 0.2
PLAIN_EVERY_S = 30.0  # between two lines about progress where nobody watches a bar


class LocalBlock(BaseModel):
    """The grid's `local:` block."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_parallel: int | None = Field(
        None, ge=1, description="runs at a time; default: as many as the GPUs allow, else 1"
    )
    processes: int = Field(1, ge=1, description="ranks of a run: one GPU each, or a share of the cores")


@dataclass
class Slots:
    """Places for runs on this machine. `gpus` are device numbers as CUDA_VISIBLE_DEVICES names them."""

    parallel: int
    processes: int
    gpus: list[str]

    def environment(self, slot: int) -> dict[str, str]:
        """What a run in this slot finds in its environment: its own GPUs, its share of the cores."""
        threads = max(1, cores() // (self.parallel * self.processes))
        environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
        if self.gpus:
            own = self.gpus[slot * self.processes :][: self.processes]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(own)
        return environment


def slots(block: LocalBlock, gpus: Sequence[str]) -> Slots:
    """How many runs go at a time: as the block says, but never two on one GPU."""
    if not gpus:
        return Slots(block.max_parallel or 1, block.processes, [])
    room = max(1, len(gpus) // block.processes)
    return Slots(min(block.max_parallel or room, room), block.processes, list(gpus))


def visible_gpus() -> list[str]:
    """The GPUs that this process may use."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return named[:count] if named else [str(number) for number in range(count)]


def training_command(config_file: Path, folder: Path, processes: int) -> list[str]:
    """The program of a run: torchrun where there are several processes to keep together."""
    program = ["-m", "artnet.train", "--config", str(config_file), "--run-dir", str(folder)]
    if processes > 1:
        program = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *program]
    return [sys.executable, *program]


@dataclass
class Active:
    """A run in a slot. `process` is None for one that an earlier launcher left running."""

    decision: plan.Decision
    folder: RunDir
    process: subprocess.Popen[bytes] | None = None
    logs: Path = Path()
    attempts_before: int = 0
    bar: TaskID | None = None


@dataclass
class Machine:
    """Carries out a plan on this machine."""

    sweep: rundir.Sweep
    slots: Slots
    bars: Progress
    total: int
    stopping: bool = False
    active: dict[int, Active] = field(default_factory=dict)
    ended: list[Active] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """The handler of SIGINT and SIGTERM: let every run stop at its next step."""
        if not self.stopping:
            cli.say("stopping: every run saves a checkpoint at its next step")
        self.stopping = True
        for active in self.active.values():
            if active.process:
                active.process.send_signal(signal.SIGTERM)

    def carry_out(self, decisions: Sequence[plan.Decision]) -> None:
        """Run everything that is to be started or resumed, and wait for what an earlier launcher left running."""
        running = [decision for decision in decisions if decision.state is State.RUNNING]
        waiting = plan.to_start(decisions)
        for number, decision in enumerate(running, start=1):
            folder = self.sweep.run(decision.run)
            # A run of unknown place gets a negative number: it takes none of ours.
            slot = folder.state().get("slot", -number)
            self.active[-number if slot in self.active else slot] = Active(decision, folder)
            cli.say(f"{folder.name}: still running since an earlier launch, waiting for it")
        overall = self.bars.add_task("all runs", total=self.total, shown=f"0 of {self.total}")
        spoken = time.monotonic()
        while self.active or (waiting and not self.stopping):
            for slot in range(self.slots.parallel):
                while waiting and self._was_cancelled(self.sweep.run(waiting[0].run)):
                    cli.say(f"{waiting.pop(0).run.config.name}: cancelled before it began")
                if slot not in self.active and waiting and not self.stopping:
                    self.active[slot] = self._start(waiting.pop(0), slot)
                    if self.stopping:  # the signal came while it was being started
                        self.active[slot].process.send_signal(signal.SIGTERM)
            for slot, active in list(self.active.items()):
                self._show(active)
                if self.stopping and active.process is None:
                    del self.active[slot]  # it is not ours to stop
                elif self._has_ended(active):
                    del self.active[slot]
                    found = rundir.find_run(active.folder, active.decision.run.config.signature)
                    if active.process is None and found.state is State.INTERRUPTED:
                        waiting.insert(0, active.decision)
                    self.ended.append(active)
                    self.bars.update(overall, completed=self._done, shown=f"{self._done} of {self.total}")
            if not self.bars.console.is_terminal and time.monotonic() - spoken > PLAIN_EVERY_S:
                spoken = time.monotonic()
                cli.say(", ".join(map(self._progress_line, self.active.values())))
            time.sleep(POLL_S)

    def _start(self, decision: plan.Decision, slot: int) -> Active:
        config, folder = decision.run.config, self.sweep.run(decision.run)
        number = rundir.next_attempt(folder)
        logs = rundir.attempt_folder(folder, number)
        rundir.note_state(folder, State.RUNNING, launcher="local", slot=slot)
        attempts_before = len(folder.run().get("attempts", []))
        with (logs / "stdout").open("wb") as out, (logs / "stderr").open("wb") as err:
            process = subprocess.Popen(
                training_command(folder.config_file, folder.path, self.slots.processes),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self.slots.environment(slot),
                start_new_session=True,  # Ctrl-C reaches the launcher alone, which passes it on once
            )
        bar = self.bars.add_task(folder.name, total=config.train.epochs, shown="starting")
        return Active(decision, folder, process, logs, attempts_before, bar)

    def _has_ended(self, active: Active) -> bool:
        if active.process is None:
            return not active.folder.is_locked()
        code = active.process.poll()
        if code is None:
            return False
        complete = active.folder.result(active.decision.run.config.signature) is not None
        state, reason = State.COMPLETE, ""
        if not complete and active.folder.is_locked():
            active.process = None  # a process of an earlier launch was faster: wait for that one
            return False
        if not complete and self.stopping:
            state, reason = State.INTERRUPTED, "stopped on request"
        elif not complete:
            outcome = rundir.last_outcome(active.folder, active.attempts_before)
            state, reason = after_exit(code, outcome, rundir.last_words(active.logs / "stderr"))
        if self._was_cancelled(active.folder) and state is not State.COMPLETE:
            state, reason = State.CANCELLED, active.folder.state()["reason"]
        rundir.note_state(active.folder, state, reason, exit_code=code)
        if active.bar is not None:
            self.bars.remove_task(active.bar)
        told = state.replace("_", " ") + (f", {reason}" if reason else "")
        cli.say(f"{self._progress_line(active)}: {told} ({self._done + 1} of {self.total})")
        return True

    def _was_cancelled(self, folder: RunDir) -> bool:
        """Whether somebody has cancelled the run since this launcher is at work."""
        return rundir.cancelled_since(folder, self.began)

    @property
    def _done(self) -> int:
        """How many runs of our own have ended; those of earlier launches are not in the total."""
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


def _epoch_line(epoch: Mapping[str, float]) -> str:
    return f"epoch {epoch['epoch']} val top-1 {100 * epoch['val/top1']:.1f} %"


def launch(options: arguments.Options, overrides: Mapping[str, int | None], console: Console) -> int:
    """Run a grid on this machine, or do another thing with it.

    Returns the exit code: 0 all complete, 1 some not, 75 stopped on request.
    """
    loaded = grid.load(options.grid)
    work = verbs.work(options, loaded, lambda only: grid.expand(loaded, options.sets, only))
    if options.verb is not arguments.Verb.LAUNCH:
        return verbs.act(work, console)
    block, sweep = cli.read_block(LocalBlock, loaded, "local", loaded.local, overrides), work.sweep
    if options.dry_run:
        verbs.show(work, console)
        return 0
    cli.check_environment(loaded)
    cli.check_data(sweep, work.expansion.runs)
    with sweep.locked(wait=True):
        decisions, sight = verbs.show(work, console)
        if not clearing.agreed(sweep, decisions, options.yes):
            return 0
        decisions = clearing.clear(sweep, decisions, sight.found)
        sweep.commit(loaded, work.expansion, work.everything.runs)
        columns = (TextColumn("{task.description}"), BarColumn(10), TextColumn("{task.fields[shown]}"))
        stopped = False
        todo = len(plan.to_start(decisions))
        if todo or any(decision.state is State.RUNNING for decision in decisions):
            with Progress(*columns, console=Console(stderr=True)) as bars:
                machine = Machine(sweep, slots(block, visible_gpus()), bars, todo)
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, machine.stop)
                machine.carry_out(decisions)
                stopped = machine.stopping
        report.write(sweep.folder, console)
        after = sweep.find([decision.run for decision in decisions])
    if stopped:
        cli.say("stopped; run the same command again to go on")
        return EXIT_STOPPED
    return 0 if all(found.state is State.COMPLETE for found in after.values()) else 1


@command
def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = arguments.parser("local.py", (__doc__ or "").split(": ", 1)[1], arguments.PRUNE)
    parser.add_argument(
        "--max-parallel", type=int, metavar="N", help="runs at a time (default: the grid's local block)"
    )
    parser.add_argument(
        "--processes", type=int, metavar="N", help="ranks of each run: one GPU each, or a share of the cores"
    )
    args = parser.parse_args(argv)
    overrides = {"max_parallel": args.max_parallel, "processes": args.processes}
    return launch(arguments.parse(args), overrides, cli.console())


if __name__ == "__main__":
    raise SystemExit(main())
