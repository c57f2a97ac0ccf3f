"""What is said about a search, as tables and sentences: the terminal, the Markdown file and the page show the same."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .. import wording
from ..results import Run
from ..statistics import Estimate
from .importance import FEWEST
from .trials import Search, Trial, is_random, short_names, shown

ROWS = 20  # of a table: results.csv has all runs
NOTHING = wording.NOTHING


@dataclass(frozen=True)
class Section:
    """A titled table with sentences below it; the table may be empty."""

    title: str
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()


def sections(search: Search, importance: Mapping[str, float]) -> list[Section]:
    """All of them, in order. Only confirmed configurations have test figures."""
    found = [_best(search), _progress(search), _epochs(search), _importance(search, importance)]
    found += [_confirmed(search)] if search.confirming else []
    return found + ([_without_result(search)] if _lost(search) else [])


def states(search: Search) -> str:
    """How many configurations there are, and the number in each state."""
    count = len(search.trials)
    runs = [trial.run for trial in search.trials]
    return f"{count} configuration{'s' if count != 1 else ''}: {wording.states(runs)}" if runs else "no configuration"


def _number(search: Search, of: float) -> str:
    return wording.measured(search.metric.name, of)


def _said(search: Search, of: float) -> str:
    return f"{_number(search, of)}{wording.unit(search.metric.name)}"


def _titled(search: Search) -> str:
    """The metric as a column's title."""
    return (
        f"{search.metric.name}{',' if wording.is_share(search.metric.name) else ''}{wording.unit(search.metric.name)}"
    )


def _best(search: Search) -> Section:
    names = short_names(search.varied)
    header = ["number", "searcher", "state", "epochs", _titled(search), *names.values()]
    rows = []
    for trial in search.ranked[:ROWS]:
        start = [f"#{trial.n}", trial.searcher, wording.state(trial.run), _trained(trial), _number(search, trial.score)]
        rows.append([*start, *(shown(trial, key) for key in names)])
    notes = [f"{states(search)}."]
    if len(search.ranked) > ROWS:
        notes.append(f"These are the first {ROWS} of {len(search.ranked)}; results.csv has all runs.")
    notes.append(
        f"Ranked on {search.metric.name}, the {search.metric.scope} epoch of each run ({search.metric.goal}); "
        "runs that are not complete come last, as they had fewer epochs."
    )
    if full := [f"{name} is {key}" for key, name in names.items() if name != key]:
        notes.append(f"{', '.join(full)}.")
    if search.strangers:
        notes.append(f"Left out are configurations that the edited grid no longer holds: {search.strangers}.")
    if search.known:
        notes.append(f"The searcher also learnt from finished runs of {', '.join(search.known)}, which are not shown.")
    return Section("The best on val", header, rows, notes)


def _trained(trial: Trial) -> str:
    return f"{trial.epochs} of {trial.planned}"


def _progress(search: Search) -> Section:
    """The numbers at which the best so far improved, beside what the random start had by then."""
    searchers = {trial.n: trial.searcher for trial in search.trials}
    everything, random = search.best_so_far(), search.best_so_far(is_random)
    rows: list[list[str]] = []
    last = None
    for n, best in everything:
        if best != last:
            start = [value for m, value in random if m <= n]
            rows.append(
                [f"#{n}", searchers[n], _number(search, best), _number(search, start[-1] if start else math.nan)]
            )
        last = best
    header = ["number", "searcher", f"best {_titled(search)}", "best of the random start"]
    return Section("Best so far", header, rows, [_compared(search, everything, random)])


def _compared(search: Search, everything: list[tuple[int, float]], random: list[tuple[int, float]]) -> str:
    if not everything:
        return "No run is complete yet."
    best, name = search.complete[0], search.metric.name
    found = f"The best {name} of complete runs is {_said(search, best.score)}, of #{best.n}"
    if not random:
        return f"{found}; no complete run was chosen at random."
    count = f"{len(random)} complete run{'s' if len(random) > 1 else ''}"
    if is_random(best):
        return f"{found}, of the random start ({count}): the searcher found nothing better."
    return f"{found} ({best.searcher}); the random start has {_said(search, random[-1][1])} after {count}."


def _epochs(search: Search) -> Section:
    trained = sum(trial.epochs for trial in search.trials)
    notes = [f"{trained:,} epochs were trained for the {len(search.trials)} configurations."]
    if stopped := search.stopped:
        ran, planned = (sum(getattr(trial, name) for trial in stopped) for name in ("epochs", "planned"))
        notes.append(
            f"{len(stopped)} of them were stopped early, after {ran:,} of {planned:,} planned epochs: "
            f"early stopping saved {search.epochs_saved:,} epochs."
        )
    if again := sum(trial.epochs for trial in search.confirming):
        notes.append(f"{again:,} more were trained to confirm the best.")
    return Section("Epochs", notes=notes)


def _importance(search: Search, importance: Mapping[str, float]) -> Section:
    rows = [[key, f"{100 * share:.0f}"] for key, share in importance.items()]
    complete = len(search.complete)
    notes = [
        "How far the values of a key among the best tenth of the runs (at least five) are from those of all runs: "
        "PED-ANOVA (Watanabe et al., IJCAI 2023) as in Optuna. Runs stopped early count as worse than all complete "
        "ones, failed runs for nothing, and keys that never varied are left out."
    ]
    if not rows:
        notes = ["Importance needs two complete runs and a key that varies."]
    elif complete < FEWEST:
        verb = "run is" if complete == 1 else "runs are"
        notes.insert(0, f"Warning: only {complete} {verb} complete; below {FEWEST}, importance is uncertain.")
    return Section("Importance", ["key", "importance, %"] if rows else [], rows, notes)


def _confirmed(search: Search) -> Section:
    header = ["number", "seeds", f"{_titled(search)} when chosen", "over the seeds"]
    for task in search.tasks:
        header += [f"{task}: test top-1, %", "95 % interval"]
    rows = []
    for confirmed in search.confirmed:
        mean = confirmed.score
        chosen = [f"#{confirmed.trial.n}", confirmed.seeds, _number(search, confirmed.trial.score)]
        row = [*chosen, NOTHING if mean is None else _number(search, mean)]
        for task in search.tasks:
            row += _measured(confirmed.test(task))
        rows.append(row)
    notes = [
        "Each configuration was trained again over other seeds, which had no part in its choice. Test is shown for "
        "these alone: mean ± sample standard deviation over seeds. The order is that of the search on val.",
        "The interval is Student's t over three seeds or more, and Wilson's over test images for a single one.",
    ]
    return Section("Confirmed over other seeds", header, rows, notes)


def _measured(estimate: Estimate | None) -> list[str]:
    return [NOTHING, NOTHING] if estimate is None else [wording.spread(estimate), wording.interval(estimate)]


def _lost(search: Search) -> list[tuple[str, Run]]:
    """The runs that are neither complete nor stopped early, with what they are called."""
    names = {trial.run.name: f"#{trial.n}" for trial in (*search.trials, *search.confirming)}
    runs = [run for run in search.sweep.runs if run.result is None and run.state != "stopped_early"]
    return [(names.get(run.name, ""), run) for run in runs]


def _without_result(search: Search) -> Section:
    lost = _lost(search)
    rows = [[name, run.name, wording.state(run), run.reason] for name, run in lost[:ROWS]]
    more = Counter(wording.state(run) for _, run in lost[ROWS:])
    notes = [f"And {', '.join(f'{count} {state}' for state, count in more.items())}."] if more else []
    return Section("Runs without a result", ["number", "run", "state", "reason"], rows, notes)
