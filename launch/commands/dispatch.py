"""From the options to the command."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from rich.console import Console

from shards.errors import UserError

from ..sweep.backend import Engines
from . import logs, status
from .cancel import cancel
from .clean import clean
from .launch import launch
from .new import new
from .options import Command, Options
from .session import Session, open_session, warn


def run(options: Options, engines: Engines, console: Console) -> int:
    """Launch a grid, or run another command on it. Returns the exit code. Raises `UserError` for wrong input."""
    if options.command is Command.NEW:
        return new(options.new, engines.own.name, console)
    session = open_session(options, engines)
    if options.command is Command.LAUNCH:
        return launch(session, console)
    if options.command is Command.STATUS:
        with _ended_by_signals():
            return (status.watch if options.watch_s else status.show)(session, console)
    if not (session.sweep.folder / "manifest.json").exists():
        raise UserError(f"{session.sweep.folder} holds no runs yet; launch the grid first, or give the right --runs")
    if options.command is Command.LOGS:
        with _ended_by_signals():
            return logs.show(session)
    return {Command.CANCEL: cancel, Command.COLLECT: collect, Command.CLEAN: clean}[options.command](session, console)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """End the block, which only shows something, on SIGTERM and SIGHUP, so that it leaves the terminal as it was.

    A signal that is ignored stays so: nohup ignores SIGHUP.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with contextlib.ExitStack() as restored:
        if threading.current_thread() is threading.main_thread():  # only there can signals be handled
            for number in (signal.SIGTERM, signal.SIGHUP):
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, end)
                    restored.callback(signal.signal, number, signal.SIG_DFL)
        yield


def collect(session: Session, console: Console) -> int:
    """Write the table and the page of the runs as they are now. Returns 0."""
    engines = [session.engines.of(session.sweep.run(run)) for run in session.everything.runs]
    if any(engine.is_scheduled for engine in engines):  # the page shows what the scheduler knows
        with session.sweep.locked(session.engines.own.name, wait=True):
            _, observed = session.observe(fresh=True)
            warn(observed)
    from artnet import report  # scipy takes a while

    report.write(session.sweep.folder, console)
    return 0
