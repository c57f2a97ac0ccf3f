"""Launching a grid: the same steps for every engine, which fills in how runs are started."""

import functools
import shutil
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from artnet.rundir import EXIT_STOPPED
from shards.errors import UserError

from ..console import ask, say
from ..grid import Expansion, Grid, sources
from ..grid.space import shown
from ..sweep import disk, on_end
from ..sweep.after import Wait, wait
from ..sweep.backend import Engines, Launch
from ..sweep.code import other_code
from ..sweep.cost import cost, estimate
from ..sweep.data import check_data
from ..sweep.folder import SweepDir, note_state
from ..sweep.overview import overview
from ..sweep.plan import STARTS, Action, Decision, decide, outside, summary, to_start
from ..sweep.state import LIVE, Found, Observation, State
from ..sweep.steps import steps
from ..sweep.weights import check_weights
from .session import Session, check_answer, check_environment, warn, where
from .status import counts


def launch(session: Session, console: Console) -> int:
    """Start what is missing, as the plan says. Returns the exit code.

    Raises `UserError` for all that would go wrong; then nothing was started.
    """
    engine, sweep, expansion = session.engines.own, session.sweep, session.expansion
    everything = session.everything.runs
    engine.configure(session.grid, everything, session.options.sets)
    _check_on_end(session.grid)
    if session.options.dry_run:
        decisions, observed = _plan(session, console)
        waited = _wait(session, decisions)
        paintings = _check_data(session, decisions, waited)
        _describe(session, decisions, waited, paintings, console)
        if not observed.trouble:
            engine.check(Launch(session.grid, everything, sweep, decisions), dry_run=True)
        return 0
    check_environment(session.grid)
    with sweep.locked(engine.name, wait=engine.draws or not engine.is_scheduled):  # workers hold it for moments
        decisions, observed = _plan(session, console, fresh=True)
        _refuse_held(engine.name, decisions)
        waited = _wait(session, decisions)
        if waited.problem:
            raise UserError(waited.problem)
        _check_data(session, decisions, waited)
        engine.check(Launch(session.grid, everything, sweep, decisions), dry_run=False)
        if not agreed(sweep, decisions, session.options.yes):
            return 0
        for line in (*waited.lines, *_estimates(sweep, decisions)):
            say(line)
        decisions = clear(session.engines, sweep, decisions, observed.found)
        sweep.commit(session.grid, expansion, everything)
        started = Launch(session.grid, everything, sweep, decisions, waited.jobs, _more(session, decisions))
        finished = engine.start(started)
        from artnet import report  # scipy takes a while

        has_results = any(sweep.run(run).result(run.config.signature) for run in everything)
        report.write(sweep.folder, console if has_results or not engine.is_scheduled else Console(quiet=True))
    if not finished:
        say("stopped; run the same command again to go on")
        return EXIT_STOPPED
    if not engine.is_scheduled:
        _end(session, decisions)
    code = engine.conclude(started, console)
    return code or int(any(decision.state is State.UNREADABLE for decision in decisions))


def _more(session: Session, decisions: Sequence[Decision]) -> int | None:
    """How many runs a search may start beside those of the plan; None: as many as it asks for."""
    limit = session.options.policy.limit
    if session.options.selects:
        return 0
    return None if limit is None else max(0, limit - len(to_start(decisions)))


def _check_on_end(grid: Grid) -> None:
    """Warn where there is no program to run at the end."""
    if grid.on_end and not shutil.which(grid.on_end[0]):
        say(f"warning: {grid.where('on_end')}: on_end: there is no program {grid.on_end[0]} on this machine")


def _end(session: Session, decisions: Sequence[Decision]) -> None:
    """Run the grid's `on_end`, unless this launch has trained nothing. That it fails is a warning."""
    grid, sweep = session.grid, session.sweep
    if not grid.on_end:
        return
    found = overview(sweep, functools.partial(session.engines.find, fresh=False))
    is_as_before = all(found[sweep.run(each.run).path].state is each.state for each in decisions)
    if is_as_before and not to_start(decisions):
        return
    if problem := on_end.run(grid.on_end, sweep, found.values()):
        say(f"warning: {problem}")


def _wait(session: Session, decisions: Sequence[Decision]) -> Wait:
    """What the runs to start wait for; nothing if there are none."""
    return wait(session.grid, session.sweep, session.engines) if to_start(decisions) else Wait()


def _describe(
    session: Session, decisions: Sequence[Decision], waited: Wait, paintings: Mapping[str, int], console: Console
) -> None:
    """Print what the runs to start would wait for, get and take: resources, steps, time and disk."""
    if waited.problem:
        say(f"warning: {waited.problem}")
    asked = session.engines.own.describe(Launch(session.grid, session.everything.runs, session.sweep, decisions))
    starting = [decision.run for decision in to_start(decisions)]
    for line in (*waited.lines, *asked, *steps(starting, paintings), *_estimates(session.sweep, decisions)):
        console.print(line, highlight=False)


def _estimates(sweep: SweepDir, decisions: Sequence[Decision]) -> list[str]:
    """The time and the disk that the runs to start take, as far as complete ones show it."""
    starting = [decision.run for decision in to_start(decisions)]
    complete = [decision.run for decision in decisions if decision.state is State.COMPLETE]
    finished = [(run, spent) for run in complete if (spent := cost(sweep.run(run), run.config.signature))]
    space = disk.estimate([(run.config, sweep.run(run)) for run in complete], [run.config for run in starting])
    return [line for line in (estimate(finished, starting), space) if line]


def _check_data(session: Session, decisions: Sequence[Decision], waited: Wait) -> dict[str, int]:
    """Print warnings about the data. Returns the training paintings of each run to start by its name.

    Raises `UserError` where weights or data are missing or do not suit the runs to start.
    """
    sweep, options, starting = session.sweep, session.options, to_start(decisions)

    def at(key: str) -> str:
        return where(session.grid, options.sets, key)

    check_weights(sweep, starting, at, sources(session.grid), waited.folders)
    runs = [decision.run for decision in starting]
    warnings, paintings = check_data(sweep, session.expansion.runs, runs, at, session.engines.own, options.dry_run)
    for warning in warnings:
        say(f"warning: {warning}")
    return paintings


def _plan(session: Session, console: Console, fresh: bool = False) -> tuple[list[Decision], Observation]:
    """Make the plan and print it. Returns it, and how the runs were found."""
    gone = [] if session.options.selects else session.dropped()
    runs, observed = session.observe(gone, fresh)
    own = session.engines.own.name
    if fresh and any(now.engine == own for now in observed.found.values() if now.state is State.UNKNOWN):
        check_answer(observed, "started")
    warn(observed)
    decisions = decide(runs, observed.found, session.options.policy, gone)
    if not runs:
        states = [observed.found[run.config.name].state for run in session.expansion.runs]
        say(f"nothing is {' or '.join(sorted(session.options.states))}; {counts(states)}")
    show_plan(console, session.grid, session.expansion, decisions, session.options.dry_run)
    if sentence := other_code(session.sweep, decisions):
        say(f"warning: {sentence}")
    for engine, names in _held(own, decisions).items():
        say(f"note: launch/{engine}.py holds {_listed(names)} alive, which is left to it")
    return decisions, observed


def show_plan(console: Console, grid: Grid, expansion: Expansion, decisions: Sequence[Decision], dry_run: bool) -> None:
    """Print the arithmetic, in a dry run every run, and what there is to do."""
    console.print(f"{grid.name}: {expansion.arithmetic}", highlight=False)
    if dry_run:
        table = Table(box=None, padding=(0, 2, 0, 0))
        keys = list(dict.fromkeys(key for decision in decisions for key in decision.run.values))
        for title in ("run", *(key.rpartition(".")[2] for key in keys), "state", "plan"):
            table.add_column(title, overflow="fold", no_wrap=not console.is_terminal)
        for decision in decisions:
            if not decision.in_grid:
                continue
            values = [shown(decision.run.values.get(key, "")) for key in keys]
            cells = (decision.run.config.name, *values, decision.state.replace("_", " "), decision.action)
            table.add_row(*map(escape, cells))
        console.print(table)
    console.print(summary(decisions) or "nothing selected", highlight=False)
    if gone := outside(decisions):
        console.print(gone, highlight=False)
    if dry_run and any(decision.action is not Action.LEAVE for decision in decisions):
        console.print("dry run: nothing was started", highlight=False)


def _held(own: str, decisions: Sequence[Decision]) -> dict[str, list[str]]:
    """The names of runs that other engines hold alive, by engine."""
    held: dict[str, list[str]] = {}
    for decision in decisions:
        if decision.state in LIVE and decision.found.engine != own:
            held.setdefault(decision.found.engine, []).append(decision.run.config.name)
    return held


def _refuse_held(own: str, decisions: Sequence[Decision]) -> None:
    """Raise `UserError` if the plan starts a run that another engine holds alive."""
    for decision in decisions:
        found = decision.found
        if decision.action in STARTS and decision.state in LIVE and found.engine != own:
            where = f" (job {found.job}{f' on {found.node}' if found.node else ''})" if found.job else ""
            state = decision.state.replace("_", " ")
            raise UserError(
                f"{decision.run.config.name} is {state} under launch/{found.engine}.py{where}; "
                "end it with --cancel before it is started here"
            )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def agreed(sweep: SweepDir, decisions: Sequence[Decision], yes: bool) -> bool:
    """Whether the user agrees to all that the plan takes away, asked once; true where it takes nothing.

    Raises `UserError` where nobody can be asked and `yes` is not given.
    """
    replaced = [decision.state for decision in decisions if decision.action is Action.FROM_SCRATCH]
    ended = [decision.state for decision in decisions if decision.action is Action.DROP and decision.state in LIVE]
    takes = []
    if replaced:
        takes.append(f"starts {counts(replaced)} from scratch, and what they have is moved to {sweep.replaced}")
    if ended:
        takes.append(f"cancels {counts(ended)} that the grid no longer holds")
    return not takes or ask(f"this {' and '.join(takes)}", yes)


def clear(
    engines: Engines, sweep: SweepDir, decisions: Sequence[Decision], found: Mapping[str, Found]
) -> list[Decision]:
    """Carry out what a plan takes away, and return what is left of it: the decisions about the grid's own runs.

    Killed at any point, the same command does the rest. Raises `UserError` if a run does not end.
    """
    dropped = [sweep.run(decision.run) for decision in decisions if decision.action is Action.DROP]
    ended = engines.cancel(dropped, found, "no longer in the grid")
    for folder in dropped:
        now = Found(State.CANCELLED, "no longer in the grid") if folder in ended else found[folder.name]
        note_state(folder, now.state, now.reason, pruned=True)
    replaced = [decision for decision in decisions if decision.action is Action.FROM_SCRATCH]
    engines.cancel([sweep.run(decision.run) for decision in replaced], found, "to start from scratch")
    for decision in replaced:
        sweep.set_aside(sweep.run(decision.run))
    return [
        Decision(decision.run, Found(State.PLANNED), Action.START) if decision in replaced else decision
        for decision in decisions
        if decision.in_grid
    ]
