"""`python -P -m launch.cluster.local ARRAY.json OPTIONS`: the jobs of an array as processes of this machine, in order.

It waits until there is room for a job: a place among those that may run at a time, and GPUs of its own. Both are locks,
which other arrays respect too. submitit's controller runs each job, with its time limit.
"""

import argparse
import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import artnet
from shards.errors import UserError, command
from shards.files import open_log
from shards.numbers import whole
from shards.workers import cores

from ..host.cpus import bound_to
from ..host.environment import training_environment
from ..host.gpu_locks import GpuLocks
from ..host.gpus import visible_gpus
from ..host.locks import claim
from ..host.slots import Slot, slots
from ..sweep.folder import cancelled_since
from .executor import module_command, task_command
from .job_array import Array
from .resources import Resources

POLL_S = 0.5


def start(array: Path, code: Path, resources: Resources, parallel: int) -> int:
    """Start the program below, which outlives this process, and return its id.

    `resources` are those of each job, `parallel` is the number of jobs at a time, of all arrays of this sweep together.
    The `code` is that which the jobs run.
    """
    options = {
        "ranks": resources.ranks_per_node,
        "gpus": resources.gpus_per_node,
        "cpus": resources.cpus_per_node,
        "parallel": parallel,
    }
    numbers = [f"--{name}={value}" for name, value in options.items()]
    lines = [f"--setup={line}" for line in resources.setup]
    words = [f"--wrapper={word}" for word in resources.wrapper]
    program = module_command(code, "launch.cluster.local", str(array.absolute()), *numbers)
    path = os.pathsep.join([str(code.absolute()), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:  # submitit's logs: nobody else can plant links in this folder, whatever the umask
        array.with_suffix("").mkdir(mode=0o755)
    except FileExistsError as error:
        raise UserError(f"{error.filename} exists already; remove it and submit the grid again") from None
    with open_log(array.with_suffix(".log")) as log:
        process = subprocess.Popen(
            [*program, *lines, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,  # with the launcher's own output, `launch/slurm.py | tail` would wait for the jobs
            stderr=log,
            env={**training_environment(), "PYTHONPATH": path},
            start_new_session=True,
        )
    return process.pid


@dataclass
class Queue:
    """The jobs of an array that wait and run."""

    file: Path
    array: Array
    slots: Sequence[Slot]
    ranks: int
    parallel: int
    setup: Sequence[str] = ()
    wrapper: Sequence[str] = ()
    gpu_locks: GpuLocks = field(default_factory=GpuLocks)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def carry_out(self) -> None:
        """Run all jobs to their ends."""
        for place in range(self.array.count):
            while self._is_wanted(place):
                with self._room(place) as room:
                    if room:
                        self._start(place, *room)
                        break
                time.sleep(POLL_S)
                self._reap()
        while self.running:
            time.sleep(POLL_S)
            self._reap()

    def _reap(self) -> None:
        self.running = [process for process in self.running if process.poll() is None]

    def _is_wanted(self, place: int) -> bool:
        """Whether the run was neither cancelled nor submitted again since; a worker always is."""
        if self.array.workers:
            return True
        run = self.array.run(self.file, place)
        submitted = datetime.fromisoformat(self.array.submitted).timestamp()
        return run.state().job_name == self.array.name and not cancelled_since(run, submitted)

    @contextlib.contextmanager
    def _room(self, place: int) -> Iterator[tuple[Slot, list[int]] | None]:
        """A free slot and the descriptors of its locks, for the job to inherit; None if there is no room."""
        places = [self.file.parent / f"place-{number}.lock" for number in range(self.parallel)]
        for slot, name in zip(self.slots, places, strict=False):
            with contextlib.ExitStack() as stack:
                if slot.gpus:
                    user = self.file.parents[1] if self.array.workers else self.array.run(self.file, place).path
                    held = self.gpu_locks.claim(slot.gpus, str(user))
                else:
                    cpus = claim(name.with_name(f"cpus-{self.slots.index(slot)}-of-{len(self.slots)}.lock"))
                    held = None if cpus is None else [cpus]
                for descriptor in held or ():
                    stack.callback(os.close, descriptor)
                if held is not None:
                    free = (number for file in places if (number := _claimed(stack, file)) is not None)
                    if (first := next(free, None)) is not None:
                        yield slot, [first, *held]
                        return
        yield None

    def _start(self, place: int, slot: Slot, locks: Sequence[int]) -> None:
        """Start a job's controller, as submitit's local executor does."""
        folder = self.file.with_suffix("")  # its name is that of the array, by which the job is known
        task = task_command(self.file, Path(artnet.__file__).parents[1], self.array.program)
        program = [sys.executable, "-P", "-m", "submitit.local._local", str(folder)]
        environment = {
            **slot.environment(),
            "CUDA_VISIBLE_DEVICES": ",".join(slot.gpus),
            "SUBMITIT_EXECUTOR": "local",
            "SUBMITIT_LOCAL_NTASKS": str(self.ranks),
            "SUBMITIT_LOCAL_COMMAND": f"{shlex.join(self.wrapper)} {task} {place}",
            "SUBMITIT_LOCAL_TIMEOUT_S": str(60 * self.array.minutes),
            "SUBMITIT_LOCAL_SIGNAL_DELAY_S": str(self.array.signal_s),
            "SUBMITIT_LOCAL_NODEID": "0",
            "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
            "SUBMITIT_STDERR_TO_STDOUT": "1",
            "SUBMITIT_LOCAL_WITH_SHELL": "",
        }
        script = " && ".join([*self.setup, f"exec {shlex.join(program)}"])
        with bound_to(slot.cpus):
            self.running.append(
                subprocess.Popen(
                    ["bash", "-c", script] if self.setup else program,
                    stdin=subprocess.DEVNULL, env=environment, pass_fds=locks, start_new_session=True,
                )
            )  # fmt: skip


def _claimed(stack: contextlib.ExitStack, file: Path) -> int | None:
    descriptor = claim(file)
    if descriptor is not None:
        stack.callback(os.close, descriptor)
    return descriptor


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the jobs of an array. Returns 0."""
    parser = argparse.ArgumentParser(prog="python -m launch.cluster.local")
    parser.add_argument("array", type=Path)
    for name in ("ranks", "gpus", "cpus", "parallel"):
        parser.add_argument(f"--{name}", type=whole, required=True)
    for name in ("setup", "wrapper"):
        parser.add_argument(f"--{name}", action="append", default=[])
    args = parser.parse_args(argv)
    gpus = visible_gpus() if args.gpus else []
    # Without GPUs, as many jobs at a time as there are CPUs for them.
    parallel = args.parallel if gpus else min(args.parallel, max(1, cores() // args.cpus))
    places = slots(gpus, args.gpus if gpus else args.ranks, parallel)
    array = Array.read(args.array)
    Queue(args.array, array, places, args.ranks, args.parallel, args.setup, args.wrapper).carry_out()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
