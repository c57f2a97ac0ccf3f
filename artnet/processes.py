"""`artnet.train --processes N`: the ranks of one run on this machine, in processes that this one starts.

torchrun starts ranks too, but it ends with 1 whatever they end with, and follows their messages with a traceback.
Light to import (no torch).
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from types import FrameType

from shards.workers import cores

from .rundir import EXIT_STOPPED
from .stop import SIGNALS

POLL_S = 0.1
STOP_S = 3.0  # how long the others have to notice that a rank has ended, until they are asked to stop
KILL_S = 120.0  # and until they are killed


class RankProcesses:
    """The processes of all ranks. Signals that ask this process to stop are passed on to each of them once."""

    def __init__(self) -> None:
        """Pass on signals from now on."""
        self.asked: list[int] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._pass_on)

    def train(self, count: int, arguments: Sequence[str]) -> int:
        """Run `artnet.train` with these arguments in `count` processes. Returns the exit code for all of them."""
        import torch.distributed as dist

        # Here, and not in rank 0: when that ends, the others can still tell why.
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
        program = [sys.executable, *["-P"] * sys.flags.safe_path, "-m", "artnet.train", *arguments]
        for rank in range(count):
            if not self.asked:
                process = subprocess.Popen(program, env=environment(os.environ, rank, count, store.port))
                self._processes.append(process)
        for number in self.asked:  # while a process was being started
            self._send(number)
        return exit_code(self._wait(), self.asked)

    def _wait(self) -> list[int]:
        """The exit codes of all ranks. Once a rank has failed, the others are ended."""
        failed_at: float | None = None
        while None in (codes := [process.poll() for process in self._processes]):
            if failed_at is None and any(code not in (None, 0, EXIT_STOPPED) for code in codes):
                failed_at = time.monotonic()
            waited = 0 if failed_at is None else time.monotonic() - failed_at
            if waited > KILL_S:
                self._send(signal.SIGKILL)
            elif waited > STOP_S:
                self._pass_on(signal.SIGTERM, None)
            time.sleep(POLL_S)
        return [code for code in codes if code is not None]

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if number not in self.asked:
            self.asked.append(number)
            self._send(number)

    def _send(self, number: int) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)


def environment(around: Mapping[str, str], rank: int, count: int, port: int) -> dict[str, str]:
    """The variables by which a process knows its rank, as torchrun sets them; the store is at `port` of this host."""
    ours = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    threads = str(max(1, cores() // count))
    return {
        "OMP_NUM_THREADS": threads,
        **{name: value for name, value in around.items() if not name.startswith("TORCHELASTIC_")},
        **{name: str(value) for name, value in ours.items()},
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def exit_code(codes: Sequence[int], asked: Collection[int]) -> int:
    """One exit code for all ranks: of those that failed, else `EXIT_STOPPED` if any was stopped or none was started.

    `codes` are negative for signals, `asked` the signals that were passed on.
    """
    bad = [code for code in codes if code not in (0, EXIT_STOPPED) and -code not in asked]
    if bad:
        return max(bad) if max(bad) > 0 else 128 - bad[0]
    return EXIT_STOPPED if any(codes) or not codes else 0
