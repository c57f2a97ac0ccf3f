"""What the terminal, the Markdown file and the page say in the same words."""

from collections import Counter
from collections.abc import Sequence

from .results import Run, Sweep
from .statistics import Estimate
from .summary import Cell, Group, Summary, setting

NOTHING = "-"


def percent(share: float) -> str:
    """A share in per cent, to one image in 10,000."""
    return f"{100 * share:.2f}"


def spread(estimate: Estimate | None) -> str:
    """Mean ± standard deviation in per cent, as far as there are seeds to tell."""
    if estimate is None:
        return NOTHING
    mean = percent(estimate.mean)
    return mean if estimate.std is None else f"{mean} ± {percent(estimate.std)}"


def interval(estimate: Estimate) -> str:
    """The 95 % interval in per cent."""
    return f"{percent(estimate.low)} to {percent(estimate.high)}"


def with_error(estimate: Estimate | None) -> str:
    """`spread`, or the mean and the interval of a single seed, which has no spread."""
    if estimate is None or estimate.std is not None:
        return spread(estimate)
    return f"{percent(estimate.mean)} ({interval(estimate)})"


def method(estimate: Estimate) -> str:
    """Whose interval it is."""
    return "Wilson's over test images" if estimate.n == 1 else "Student's t over seeds"


def seeds(cell: Cell) -> str:
    """How many seeds a figure is of, and of how many that were planned."""
    done = len(cell.scores)
    return str(done) if done == cell.planned else f"{done} of {cell.planned}"


def published(cell: Cell) -> str:
    """The published figures, as they were given."""
    return ", ".join(f"{figure:g}" for figure in cell.published) or NOTHING


def spans(numbers: Sequence[float], form: str = "{}") -> str:
    """Sorted numbers as their one value, or from the least to the greatest."""
    if not numbers:
        return NOTHING
    ends = dict.fromkeys(form.format(number) for number in (numbers[0], numbers[-1]))
    return " to ".join(ends)


def majority(summary: Summary, task: str) -> str:
    """The test share of the commonest class, in per cent: what a constant answer gets."""
    return spans([100 * share for share in summary.majority(task)], "{:.2f}")


def state(run: Run) -> str:
    """The run's state in words, as in "out of memory"."""
    return run.state.replace("_", " ")


def states(runs: Sequence[Run]) -> str:
    """How many runs are in which state, as in "5 complete, 1 out of memory"."""
    counts = Counter(map(state, runs))
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def unfinished(sweep: Sweep) -> list[Run]:
    """The runs that have no result, for whatever reason."""
    return [run for run in sweep.runs if run.result is None]


def findings(summary: Summary) -> list[str]:
    """One sentence per task: which model is best, and how sure that is."""
    return [finding(task, summary.groups) for task in summary.tasks]


def finding(task: str, groups: Sequence[Group]) -> str:
    """Which model has the highest mean on a task, and whether its interval tells it from the others."""
    found = [(group.label, group.cells[task].estimate) for group in groups if task in group.cells]
    ranked = sorted(((label, one) for label, one in found if one), key=lambda pair: -pair[1].mean)
    if not ranked:
        return f"{task}: no run is complete yet."
    (label, best), *others = ranked
    if not others:
        return f"{task}: {label} is the only model with a result, {_measured(best)}."
    tied = [name for name, one in ranked if one.mean == best.mean]
    if len(tied) > 1:
        return f"{task}: {' and '.join(tied)} share the highest mean test top-1, {percent(best.mean)} %."
    rival = next(((name, one) for name, one in others if one.overlaps(best)), None)
    name, other = rival or others[0]
    place = "the next" if name == others[0][0] else "a lower one"
    if rival:
        verdict = "as the intervals overlap, their order is uncertain"
    elif 1 in (best.n, other.n):
        verdict = "the intervals do not overlap, but one seed cannot tell what another would give"
    else:
        verdict = "the intervals do not overlap"
    return (
        f"{task}: {label} has the highest mean test top-1, {_measured(best)}; "
        f"{place}, {name}, has {_measured(other)}, and {verdict}."
    )


def _measured(estimate: Estimate) -> str:
    over = f"{estimate.n} seeds" if estimate.n > 1 else f"one seed, {method(estimate)}"
    return f"{percent(estimate.mean)} % (95 % interval {interval(estimate)}, {over})"


def notes(sweep: Sweep, summary: Summary) -> list[str]:
    """What must be known to read the table: one sentence each."""
    said = [
        "Test top-1 in per cent, measured once with each run's best checkpoint on val: "
        "mean ± sample standard deviation over n seeds."
    ]
    if any(len(cell.scores) == 1 for task in summary.tasks for cell in summary.column(task)):
        said.append(
            "Where n is 1 there is no spread over seeds, so no ± is given: "
            "in brackets is Wilson's 95 % interval for the share of the run's test images."
        )
    if without := unfinished(sweep):
        verb = "has" if len(without) == 1 else "have"
        said.append(f"Of {len(sweep.runs)} runs, {len(without)} {verb} no result: {states(without)}.")
    if len({run.result.data for run in sweep.runs if run.result}) > 1:
        said.append("The runs were not made with the same shards: their figures are not measured on the same images.")
    for reference in sweep.manifest.reference:
        if not any(reference.matches(run.config) for run in sweep.runs):
            when = ", ".join(setting(key, of) for key, of in reference.when.items())
            said.append(f"No run of this sweep matches the published one with {when}.")
    return said
