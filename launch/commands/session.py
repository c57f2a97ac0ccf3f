"""What can be done with a grid beside launching it: the same for all doors."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from shards.errors import UserError
from shards.files import is_locked

from .. import console as cli
from ..grid import Expansion, Grid, Run, selection
from ..sweep import plan
from ..sweep.folder import Sweep, note_state
from ..sweep.plan import Decision, Found, Sight
from ..sweep.state import LIVE, State
from . import cancel, clean, logs, status
from .options import Options, Verb

Find = Callable[[Sweep, Sequence[Run], bool], Sight]  # the last one: whether an answer of some seconds ago is too old


def find_here(sweep: Sweep, runs: Sequence[Run], fresh: bool) -> Sight:
    """How runs are found by looking at their folders alone; nothing can go wrong with it."""
    return Sight(sweep.find(runs))


@dataclass(frozen=True)
class Work:
    """A grid with what is selected of it, and the folder where its runs are. `find` says how runs are found."""

    options: Options
    grid: Grid
    everything: Expansion
    expansion: Expansion
    sweep: Sweep
    find: Find
    asks: bool  # whether `find` asks a scheduler, and not this machine alone
    names_dropped: bool  # whether a run in the folder that is not in the grid is worth a word

    def look(self, others: Sequence[Run] = (), fresh: bool = False) -> tuple[list[Run], Sight]:
        """The selected runs, and how they and the `others` are found."""
        sight = self.find(self.sweep, [*self.expansion.runs, *others], fresh)
        return by_state(self.expansion.runs, sight.found, self.options.states), sight


def work(
    options: Options,
    grid: Grid,
    expand: Callable[[Sequence[str]], Expansion],
    find: Find = find_here,
    asks: bool = False,
    names_dropped: bool = True,
) -> Work:
    """Read the selection. `expand` gives the runs of a list of `--only`. Raises `UserError` for what matches none."""
    everything = expand(())
    part = expand(options.only) if options.only else everything
    part = selection.by_id(part, options.ids)
    sweep = Sweep(options.sweep_root / grid.name)
    return Work(options, grid, everything, part, sweep, find, asks, names_dropped)


def show(work: Work, console: Console, fresh: bool = False) -> tuple[list[Decision], Sight]:
    """Make the plan of a launch and print it. Returns it, and how the runs were found."""
    gone = work.sweep.dropped(work.everything.runs) if work.names_dropped and not work.options.selects else []
    runs, sight = work.look(gone, fresh)
    if fresh:
        check_answer(sight, "submitted")
    warn(sight)
    decisions = plan.decide(runs, sight.found, work.options.policy, gone)
    if not runs:
        states = [sight.found[run.config.name].state for run in work.expansion.runs]
        cli.say(f"nothing is {' or '.join(sorted(work.options.states))}; {status.counts(states)}")
    cli.show_plan(console, work.grid, work.expansion, decisions, work.options.dry_run)
    return decisions, sight


def act(work: Work, console: Console) -> int:
    """Do what was asked for. Returns the exit code: 1 if a run that was shown ended badly."""
    if work.options.verb is not Verb.STATUS and not (work.sweep.folder / "manifest.json").exists():
        raise UserError(f"{work.sweep.folder} holds no runs yet; launch the grid first, or give the right --runs")
    actions = {
        Verb.STATUS: _watch if work.options.watch_s else _status,
        Verb.LOGS: _logs,
        Verb.CANCEL: _cancel,
        Verb.COLLECT: _collect,
        Verb.CLEAN: _clean,
    }
    return actions[work.options.verb](work, console)


def warn(sight: Sight) -> None:
    """Say that the scheduler does not answer, or not all of it."""
    if sight.trouble:
        cli.say(f"warning: SLURM does not answer ({sight.trouble}); what it alone knows is unknown for now")


def check_answer(sight: Sight, done: str) -> None:
    """Raise `UserError` if of no job anything is known: then nothing can be `done`."""
    if sight.is_silent:
        raise UserError(f"SLURM does not answer ({sight.trouble}); nothing was {done}, try again when it does")


def _status(work: Work, console: Console) -> int:
    gone = work.sweep.dropped(work.everything.runs) if work.names_dropped else []
    runs, sight = work.look()
    states = [sight.found[run.config.name].state for run in runs]
    if runs:
        metric = work.grid.metric["name"]
        shown = status.table(status.rows(work.sweep.folder, runs, sight.found, metric), metric, console.is_terminal)
        # Where nobody watches no line is broken or cut, as long as a reason may be.
        wide = console if console.is_terminal else Console(file=console.file, width=10_000)
        wide.print(shown, highlight=False)
    console.print(f"{work.grid.name}: {status.counts(states)}{_selected(work)}", highlight=False)
    if gone:
        names = ", ".join(run.config.name for run in gone[:5]) + (", ..." if len(gone) > 5 else "")
        count = f"{len(gone)} {'run' if len(gone) == 1 else 'runs'}"
        console.print(f"not in this grid, but in its folder: {count} ({names})", highlight=False)
    warn(sight)
    return 1 if status.ended_badly(states) else 0


def _selected(work: Work) -> str:
    return f" of {len(work.everything.runs)}" if work.options.selects else ""


def _watch(work: Work, console: Console) -> int:
    """The table again and again, until nothing lives; where nobody watches, a line whenever the counts change."""
    every, metric = work.options.watch_s or 0.0, work.grid.metric["name"]
    told, warned = "", ""
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as screen:
        while True:
            runs, sight = work.look()
            if sight.trouble != warned:
                warned = sight.trouble
                warn(sight)
            states = [sight.found[run.config.name].state for run in runs]
            counts = f"{work.grid.name}: {status.counts(states)}{_selected(work)}"
            over = not status.live(states) and not is_locked(work.sweep.lock)
            if console.is_terminal:
                rows = status.rows(work.sweep.folder, runs, sight.found, metric)
                shown = status.most_telling(rows, max(1, console.height - 4))
                rest = f", {len(rows) - len(shown)} not shown" if len(shown) < len(rows) else ""
                table = status.table(shown, metric, wraps=False)
                screen.update(Group(table, Text(counts + rest)), refresh=True)
            elif counts != told:
                told = counts
                console.print(counts, highlight=False)
            if over:
                return 1 if status.ended_badly(states) else 0
            time.sleep(every)


def _logs(work: Work, console: Console) -> int:
    run = selection.one(work.expansion.runs, work.options.logs)
    folder = work.sweep.run(run)
    reader = logs.Reader(folder, sys.stdout.buffer, cli.say)
    if not work.options.follow:
        reader.read(to_the_end=True)

    def state() -> State:
        return work.find(work.sweep, [run], False).found[run.config.name].state

    if work.options.follow:
        reader.follow(lambda: not folder.result(run.config.signature) and state() in LIVE)
    elif not logs.files(folder):
        cli.say(f"{folder.name} has said nothing yet: {state().replace('_', ' ')}")
    return 0


def _cancel(work: Work, console: Console) -> int:
    if not work.asks:
        return _cancel_found(work, console, is_locked(work.sweep.lock))
    with work.sweep.locked(wait=True):
        return _cancel_found(work, console, False)


def _cancel_found(work: Work, console: Console, at_work: bool) -> int:
    runs, sight = work.look(fresh=True)
    check_answer(sight, "cancelled")
    found = dict(sight.found)
    if at_work:  # a launcher on this machine has runs in mind that it has not begun: their state tells it
        waiting = (State.PLANNED, State.INTERRUPTED)
        found |= {name: Found(State.PENDING) for name, f in found.items() if f.state in waiting}
    living = [run for run in runs if found[run.config.name].state in LIVE]
    if not living:
        console.print(f"nothing to cancel: {status.counts([found[run.config.name].state for run in runs])}")
        return 0
    told = status.counts([found[run.config.name].state for run in living])
    if work.options.dry_run:
        console.print(f"would cancel {told}: {', '.join(run.config.name for run in living)}", highlight=False)
        return 0
    if cli.ask(f"this cancels {told}", work.options.yes):
        ended = cancel.cancel([work.sweep.run(run) for run in living], found, "cancelled by --cancel")
        console.print(f"cancelled {len(ended)}; --retry goes on with them", highlight=False)
    return 0


def note(work: Work, found: Mapping[str, Found]) -> None:
    """Record what a scheduler said of the runs, for those who cannot ask it: the table and the page."""
    for run in work.expansion.runs:
        folder, now = work.sweep.run(run), found[run.config.name]
        recorded = folder.state()
        job = {"job": now.job} if now.job else {}
        is_new = {**recorded, "state": now.state, "reason": now.reason, **job} != recorded
        is_settled = recorded.get("state") not in {*LIVE, State.INTERRUPTED}  # its job has had the last word since
        if recorded.get("launcher") != "slurm" or is_settled or now.state in (State.PLANNED, State.UNKNOWN):
            continue
        if is_new:
            note_state(folder, now.state, now.reason, **job)


def _collect(work: Work, console: Console) -> int:
    if work.asks:  # a scheduler is asked, so nobody else has noted what it says
        with work.sweep.locked(wait=True):
            _, sight = work.look(fresh=True)
            warn(sight)
            note(work, sight.found)
    from artnet import report  # scipy takes a while

    report.write(work.sweep.folder, console)
    return 0


def _clean(work: Work, console: Console) -> int:
    with work.sweep.locked(wait=False):
        gone = [] if work.options.selects else work.sweep.dropped(work.everything.runs)
        runs, sight = work.look(gone, fresh=True)
        check_answer(sight, "deleted")
        litter = clean.find(work.sweep, [*runs, *gone], sight.found, whole=not work.options.selects)
        for kind in litter:
            console.print(f"{clean.in_words(kind.size):>9}  {len(kind.paths):>5}  {kind.what}", highlight=False)
        total = clean.in_words(sum(kind.size for kind in litter))
        if not litter:
            console.print("nothing to clean", highlight=False)
        elif work.options.dry_run:
            console.print(f"dry run: nothing was deleted of {total}", highlight=False)
        elif cli.ask(f"this deletes {total} for good", work.options.yes):
            clean.delete(litter)
            console.print(f"deleted {total}", highlight=False)
    return 0


def by_state(runs: Sequence[Run], found: Mapping[str, Found], wanted: frozenset[State]) -> list[Run]:
    """The runs that were found in one of the `wanted` states; all if none is wanted."""
    return [run for run in runs if not wanted or found[run.config.name].state in wanted]
