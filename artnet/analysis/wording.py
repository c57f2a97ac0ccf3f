"""The texts that the terminal, the Markdown file and the page share."""

from collections import Counter
from collections.abc import Sequence

from ..sources import differing, named, recorded
from .results import Run, Sweep
from .statistics import Estimate
from .summary import Cell, Summary, setting

NOTHING = "-"


def percent(share: float) -> str:
    """Format a share in per cent with two decimals."""
    return f"{100 * share:.2f}"


def is_share(metric: str) -> bool:
    """Whether a metric is a share, which is shown in per cent."""
    return metric.rpartition("/")[2] in ("top1", "top5", "macro_f1", "ece")


def unit(metric: str) -> str:
    """The unit that follows a metric's name or value."""
    return " %" if is_share(metric) else ""


def measured(metric: str, of: float) -> str:
    """Format a metric: shares in per cent, without the unit."""
    if of != of:
        return NOTHING
    return percent(of) if is_share(metric) else f"{of:.4f}"


def spread(estimate: Estimate | None) -> str:
    """Mean ± standard deviation in per cent; only the mean for a single seed."""
    if estimate is None:
        return NOTHING
    mean = percent(estimate.mean)
    return mean if estimate.std is None else f"{mean} ± {percent(estimate.std)}"


def interval(estimate: Estimate) -> str:
    """The 95 % interval in per cent, or why there is none."""
    if estimate.interval is None:
        return f"{estimate.n} seeds: too few"
    return " to ".join(map(percent, estimate.interval))


def with_error(estimate: Estimate | None) -> str:
    """`spread`; for a single seed, which has no standard deviation, the mean and the interval."""
    if estimate is None or estimate.std is not None:
        return spread(estimate)
    return f"{percent(estimate.mean)} ({interval(estimate)})"


def method(estimate: Estimate) -> str:
    """The method of the interval."""
    if estimate.interval is None:
        return NOTHING
    return "Wilson's over test images" if estimate.n == 1 else "Student's t over seeds"


def seeds(cell: Cell) -> str:
    """The number of complete seeds, and of planned ones if it differs."""
    done = len(cell.scores)
    return str(done) if done == cell.planned else f"{done} of {cell.planned}"


def published(cell: Cell) -> str:
    """The published figures, in per cent."""
    return ", ".join(f"{figure:g}" for figure in cell.published) or NOTHING


def spans(numbers: Sequence[float], form: str = "{}") -> str:
    """Format sorted numbers as their range, or as one number if all are equal."""
    if not numbers:
        return NOTHING
    ends = dict.fromkeys(form.format(number) for number in (numbers[0], numbers[-1]))
    return " to ".join(ends)


def majority(summary: Summary, task: str) -> str:
    """The test share of the most common class, in per cent: the top-1 of a constant prediction."""
    return spans([100 * share for share in summary.majority(task)], "{:.2f}")


def state(run: Run) -> str:
    """Format the run's state, as in "out of memory"."""
    return run.state.replace("_", " ")


def states(runs: Sequence[Run]) -> str:
    """The number of runs in each state, as in "5 complete, 1 out of memory"."""
    counts = Counter(map(state, runs))
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def unfinished(sweep: Sweep) -> list[Run]:
    """The runs without a result, for any reason."""
    return [run for run in sweep.runs if run.result is None]


def against_majority(summary: Summary, task: str) -> str:
    """Say so where no model is better than a constant answer; empty if one is, or if there is no result."""
    found = [cell.estimate for cell in summary.column(task) if cell.estimate]
    if not found:
        return ""
    share, names = summary.majority(task)[-1], summary.majority_classes(task)
    constant = f"always saying {names[0] if len(names) == 1 else 'the most frequent class'} ({percent(share)} %)"
    if all(one.mean <= share for one in found):
        return f"No model is better than {constant}."
    if all(one.mean <= share or (one.interval and one.interval[0] <= share) for one in found):
        return f"No model is certainly better than {constant}."
    return ""


def notes(sweep: Sweep, summary: Summary) -> list[str]:
    """The notes to the table, one sentence each."""
    sentences = [
        "Test top-1 in per cent, measured once with each run's best checkpoint on val: "
        "mean ± sample standard deviation over n seeds."
    ]
    if any(len(cell.scores) == 1 for task in summary.tasks for cell in summary.column(task)):
        sentences.append(
            "If n is 1, there is no standard deviation over seeds: "
            "the brackets contain Wilson's 95 % interval for the share of the run's test images."
        )
    return sentences + cautions(sweep, summary)


def cautions(sweep: Sweep, summary: Summary) -> list[str]:
    """What a reader of the results should know of the runs: what is missing, and what differs between them."""
    sentences = []
    if without := unfinished(sweep):
        verb = "has" if len(without) == 1 else "have"
        sentences.append(f"Of {len(sweep.runs)} runs, {len(without)} {verb} no result: {states(without)}.")
    if len({run.result.data for run in sweep.runs if run.result}) > 1:
        sentences.append("The runs used different shards, so their figures are not measured on the same images.")
    for group in summary.groups:
        made = [record for run in group.runs if run.result for record in recorded(run.directory.run())]
        if files := differing(made):
            sentences.append(f"The runs of {group.label} were not all made by the same code: {named(files)}.")
    for reference in sweep.manifest.reference:
        if not any(reference.matches(run.config) for run in sweep.runs):
            when = ", ".join(setting(key, of) for key, of in reference.when.items())
            sentences.append(f"No run of this sweep matches the published result with {when}.")
    return sentences
