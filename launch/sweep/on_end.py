"""The grid's `on_end`: a command to run, without a shell, when the runs of a launch have ended."""

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Collection, Sequence

from .folder import SweepDir
from .overview import is_well
from .state import ENDED_BADLY, Found, State

LIMIT_S = 60.0


def run(command: Sequence[str], sweep: SweepDir, found: Collection[Found]) -> str:
    """Run the command; `found` are all runs of the sweep. Returns what went wrong in a sentence, empty if nothing.

    It learns of the sweep by variables of its environment: ARTNET_SWEEP, its folder, ARTNET_NAME, and how many runs
    are complete (ARTNET_COMPLETE) or ended badly (ARTNET_FAILED) of how many (ARTNET_TOTAL).
    """
    told = {
        "SWEEP": sweep.folder.resolve(),
        "NAME": sweep.folder.name,
        "COMPLETE": sum(now.state is State.COMPLETE for now in found),
        "FAILED": sum(now.state in ENDED_BADLY and not is_well(now) for now in found),
        "TOTAL": len(found),
    }
    environment = {**os.environ, **{f"ARTNET_{name}": str(value) for name, value in told.items()}}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, env=environment, start_new_session=True
        )
    except OSError as error:
        return f"on_end: {command[0]} cannot be run ({error.strerror})"
    try:
        code = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"on_end: {shlex.join(command)} took over {LIMIT_S:g} s and was ended"
    finally:
        if process.poll() is None:  # with all that it has started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return f"on_end: {shlex.join(command)} ended with exit code {code}" if code else ""
