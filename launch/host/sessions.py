"""The processes of a session (setsid): whatever a program has started, however it has arranged them."""

import contextlib
import os
import signal
from pathlib import Path


def processes_of(session: int) -> dict[int, str]:
    """The living processes of a session, by id, and their names; where there is no /proc, the leader alone."""
    if not Path("/proc/self/stat").exists():
        return {session: ""}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            text = (folder / "stat").read_text()
            name, fields = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                found[int(folder.name)] = name
    return found


def kill_session(session: int, *, spare: int | None = None) -> None:
    """Kill all processes of a session but `spare`, also those that they start meanwhile."""
    while left := [process for process in processes_of(session) if process != spare]:
        for process in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        if not Path("/proc/self/stat").exists():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(session, signal.SIGKILL)
            return
