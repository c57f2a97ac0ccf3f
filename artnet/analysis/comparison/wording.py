"""Comparisons as sentences, as tables on the terminal and as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.text import Text

from ...formats import FORMAT
from ..terminal import print_table
from .bootstrap import DRAWS
from .difference import LEVEL, Difference, Family
from .tables import TaskComparison

OVER = {"seeds": "trainings", "paintings": "paintings", "both": "both"}
MEANING = {
    "seeds": "trainings: the interval covers other seeds, on these test paintings",
    "paintings": "paintings: it covers other test paintings, for the runs as they were trained",
    "both": "both: it covers other seeds and other test paintings",
}


def sentence(difference: Difference) -> str:
    """A decision, as in "ResNet50 + SE is 5.2 points above ResNet50 (95 % 3.9 to 6.5, Dunnett, 3 seeds)"."""
    one = difference
    found = f"{one.first} is {abs(100 * one.mean):.1f} points {'below' if one.mean < 0 else 'above'} {one.second}"
    if one.mean == 0:
        found = f"{one.first} and {one.second} have the same mean"
    if one.interval is None:
        return f"{found} (no interval over {OVER[one.error]}, {sample(one)})."
    low, high = (100 * bound for bound in one.interval)
    is_certain = one.p_value is not None and one.p_value < LEVEL
    doubt = "" if is_certain or one.mean == 0 else ", which may be chance"
    return f"{found}{doubt} (95 % {low:.1f} to {high:.1f}, {one.method}, {sample(one)})."


def sample(difference: Difference) -> str:
    """How much a difference is measured on: seeds, paintings, or both."""
    counts = sorted(set(difference.seeds))
    seeds = f"{' and '.join(map(str, counts))} seed{'s' if counts[-1] > 1 else ''}"
    parts = {"seeds": [seeds], "paintings": [], "both": [seeds]}[difference.error]
    return ", ".join([*parts, *([f"{difference.paintings:,} paintings"] if difference.paintings else [])])


def family(of: Family, baseline: str | None) -> str:
    """The family of comparisons: what it is over, how many there are, and how they are corrected."""
    k, (first, *_) = len(of.differences), of.differences
    drawn = f" of {DRAWS:,} draws" if "bootstrap" in first.method else ""
    against = "all pairs" if baseline is None else f"with {baseline}"
    count = "1 comparison" if k == 1 else f"a family of {k} comparisons, {against}"
    corrected = "" if k == 1 else {
        "Dunnett": ", corrected together",
        "Tukey": ", corrected together",
        "Welch, Holm": ", p-values corrected by Holm, intervals by Bonferroni",
        "McNemar, Holm": ", p-values corrected by Holm, intervals by Bonferroni",
        "no test": "",
    }.get(first.method, ", corrected together (max-T)")  # fmt: skip
    return f"{MEANING[first.error]}; {first.method}{drawn}, {count}{corrected}."


def print_comparison(comparison: TaskComparison, console: Console) -> None:
    """Print a task's differences, a row for each comparison and error, the families and the notes."""
    against = "" if comparison.baseline is None else f", minus {comparison.baseline}"
    title = f"{comparison.task}: differences in test top-1, in points{against}"
    rows = [one for of in comparison.families for one in of.differences]
    cells = []
    for pair in dict.fromkeys((one.first, one.second) for one in rows):
        name = pair[0] if comparison.baseline else f"{pair[0]} - {pair[1]}"
        of_pair = [one for one in rows if (one.first, one.second) == pair]
        cells += [(name, *_cells(one)) for one in of_pair]
    if cells:
        name = "model" if comparison.baseline else "models"
        header = (name, "difference", "95 % interval", "p", "error of", "method")
        print_table(console, title, header, cells, words=("error of", "method"))
    else:
        console.print(Text(title))
    for of in comparison.families:
        for text in (family(of, comparison.baseline), of.note):
            if text:
                console.print(Text(text, style="dim"))
    for note in comparison.notes:
        console.print(Text(note, style="dim"), soft_wrap="`" in note)  # a command can be copied
    console.print()


def as_json(comparisons: list[TaskComparison], notes: list[str]) -> dict[str, Any]:
    """The comparisons as JSON: differences and intervals in points, scores in per cent."""
    tasks = {}
    for one in comparisons:
        families = [
            {
                "error": of.differences[0].error,
                "method": of.differences[0].method,
                "comparisons": len(of.differences),
                "note": of.note,
                "differences": [_in_points(difference) for difference in of.differences],
            }
            for of in one.families
        ]
        models = [{"label": model.label, "top1": [100 * share for share in model.top1]} for model in one.models]
        tasks[one.task] = {
            "baseline": one.baseline, "models": models, "families": families, "notes": list(one.notes),
        }  # fmt: skip
    return {"format": FORMAT, "confidence": 1 - LEVEL, "tasks": tasks, "notes": notes}


def _in_points(difference: Difference) -> dict[str, Any]:
    interval = difference.interval
    return asdict(difference) | {
        "mean": 100 * difference.mean,
        "interval": [100 * bound for bound in interval] if interval else None,
        "seeds": list(difference.seeds),
    }


def _cells(one: Difference) -> tuple[str, str, str, str, str]:
    interval = " to ".join(f"{100 * bound:+.2f}" for bound in one.interval) if one.interval else "-"
    p_value = "-" if one.p_value is None else "<0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}"
    return f"{100 * one.mean:+.2f}", interval, p_value, OVER[one.error], f"{one.method}, {sample(one)}"
