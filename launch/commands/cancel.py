"""Ending runs that are alive, whichever engine they belong to; each saves a checkpoint at its next step."""

from rich.console import Console

from ..console import ask
from ..sweep.state import LIVE, Found, State
from .session import Session, check_answer, open_session
from .status import counts


def cancel(session: Session, console: Console) -> int:
    """End the selected runs that are alive. Returns 0.

    A launcher that submits jobs is waited for. One that runs trainings itself is not, as it may be at work for days:
    what it has not started yet is cancelled too. Raises `UserError` if a run does not end.
    """
    at_work = session.engines.by_name(session.sweep.launcher_at_work())
    if at_work and not at_work.is_scheduled:
        return _cancel(session, console, is_launching=True)
    with session.sweep.locked(session.engines.own.name, wait=True):
        if session.engines.own.draws:  # workers may have asked for more
            session = open_session(session.options, session.engines)
        return _cancel(session, console, is_launching=False)


def _cancel(session: Session, console: Console, is_launching: bool) -> int:
    runs, observed = session.observe(fresh=True)
    check_answer(observed, "cancelled")
    found = dict(observed.found)
    if is_launching:  # it has runs in mind that it has not started: it sees in their state that they are cancelled
        waiting = (State.PLANNED, State.INTERRUPTED)
        found |= {name: Found(State.PENDING) for name, now in found.items() if now.state in waiting}
    living = [run for run in runs if found[run.config.name].state in LIVE]
    jobs = [] if session.options.selects else session.engines.job_lines(session.sweep, fresh=True)
    if not living and not jobs:
        console.print(f"nothing to cancel: {counts([found[run.config.name].state for run in runs])}")
        return 0
    states = [found[run.config.name].state for run in living]
    alive = "; ".join([*([counts(states)] if states else []), *jobs[:1]])
    if session.options.dry_run:
        names = ": " + ", ".join(run.config.name for run in living) if living else ""
        console.print(f"would cancel {alive}{names}", highlight=False)
        return 0
    if ask(f"this cancels {alive}", session.options.yes):
        if jobs:
            session.engines.end_jobs(session.sweep)
            console.print(f"ended {jobs[0]}", highlight=False)
        folders = [session.sweep.run(run) for run in living]
        ended = session.engines.cancel(folders, found, "cancelled by --cancel")
        if living:
            console.print(f"cancelled {len(ended)}; --retry resumes them", highlight=False)
    return 0
