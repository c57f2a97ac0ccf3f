"""From the options to the command."""

from rich.console import Console

from shards.errors import UserError

from ..sweep.backend import Engines
from . import logs, status
from .cancel import cancel
from .clean import clean
from .launch import launch
from .options import Command, Options
from .session import Session, open_session, warn


def run(options: Options, engines: Engines, console: Console) -> int:
    """Launch a grid, or run another command on it. Returns the exit code. Raises `UserError` for wrong input."""
    session = open_session(options, engines)
    if options.command is Command.LAUNCH:
        return launch(session, console)
    if options.command is Command.STATUS:
        return (status.watch if options.watch_s else status.show)(session, console)
    if not (session.sweep.folder / "manifest.json").exists():
        raise UserError(f"{session.sweep.folder} holds no runs yet; launch the grid first, or give the right --runs")
    if options.command is Command.LOGS:
        return logs.show(session)
    return {Command.CANCEL: cancel, Command.COLLECT: collect, Command.CLEAN: clean}[options.command](session, console)


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
