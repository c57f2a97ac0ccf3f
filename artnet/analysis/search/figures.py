"""The figures of a search: best so far, each key against the metric, parallel coordinates and importance."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from ..figures import COLOURS, empty_figure
from .importance import kinds
from .trials import Search, Trial, is_random, short_names, shown

FOUND, RANDOM, STOPPED = COLOURS[0], COLOURS[1], COLOURS[7]
LONGEST_LABEL = 14  # characters of a value at an axis
AXES = 8  # of parallel coordinates, beside that of the metric: the most important keys
TICKS = 10  # values of a category that are named at an axis


@dataclass(frozen=True)
class Scale:
    """Where the values of a key lie on its axis. `names` are those of categories, at 0, 1, 2, ..."""

    key: str
    is_log: bool
    names: Sequence[str] | None

    def at(self, trial: Trial) -> float:
        """The position of a trial; NaN where the key was not chosen for it."""
        if self.key not in trial.values:
            return math.nan
        return float(self.names.index(shown(trial, self.key)) if self.names else trial.values[self.key])


def search_figures(search: Search, importance: Mapping[str, float]) -> Iterator[tuple[str, Figure]]:
    """All of them, with titles; none before there is a metric."""
    if search.complete:
        yield f"Best {search.metric.name} so far", best_so_far(search)
    if not search.ranked or not search.varied:
        return
    stated = kinds(search.sweep.folder / "grid.yaml")
    keys = list(importance) or search.varied
    scales = [_scale(key, stated.get(key), search) for key in keys]
    if importance:
        yield "Importance", _importance(importance)
    yield "All configurations", _parallel(search, scales[:AXES])
    for scale in scales:
        yield f"The metric by {scale.key}", _scatter(search, scale)


def best_so_far(search: Search) -> Figure:
    """The best metric of the complete runs by number, and that of the random start alone."""
    figure, axes = empty_figure(2.8)
    last = max(trial.n for trial in search.trials)
    for label, colour, series in (
        ("random start", RANDOM, search.best_so_far(is_random)),
        ("search", FOUND, search.best_so_far()),
    ):
        if series:
            numbers, values = zip(*series, (last, series[-1][1]), strict=True)
            axes.plot(numbers, values, color=colour, drawstyle="steps-post", linewidth=1.8, label=label)
    complete = search.complete
    axes.plot([one.n for one in complete], [one.score for one in complete], "o", color=FOUND, alpha=0.35, markersize=4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("number of the configuration")
    axes.legend(frameon=False)
    return figure


def _scale(key: str, kind: str | None, search: Search) -> Scale:
    tried = [trial.values[key] for trial in search.trials if key in trial.values]
    if kind is not None and all(isinstance(one, int | float) and not isinstance(one, bool) for one in tried):
        return Scale(key, kind == "loguniform" and min(tried) > 0, None)
    of_value: dict[str, Any] = {shown(trial, key): trial.values[key] for trial in search.trials if key in trial.values}
    are_numbers = all(isinstance(one, int | float) for one in tried)
    return Scale(key, False, sorted(of_value, key=of_value.__getitem__ if are_numbers else str))


def _groups(search: Search) -> list[tuple[str, list[Trial]]]:
    """The trials with a metric by colour, the complete ones last."""
    return [(STOPPED, [trial for trial in search.ranked if not trial.is_complete]), (FOUND, search.complete)]


def _scatter(search: Search, scale: Scale) -> Figure:
    figure, axes = empty_figure(2.6)
    for colour, trials in _groups(search):
        # Within a category side by side, in a fixed order that has nothing to do with the metric.
        spread = [0.4 * (0.618 * trial.n % 1) - 0.2 if scale.names else 0.0 for trial in trials]
        at = [scale.at(trial) + aside for trial, aside in zip(trials, spread, strict=True)]
        axes.plot(at, [trial.score for trial in trials], "o", color=colour, alpha=0.55, markersize=5)
    if scale.is_log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if scale.names:
        _name_categories(axes, scale.names)
    axes.set_xlabel(scale.key)
    axes.set_ylabel(search.metric.name)
    return figure


def _name_categories(axes: Axes, names: Sequence[str]) -> None:
    every = math.ceil(len(names) / TICKS)
    axes.set_xticks(range(0, len(names), every), [_cut(name) for name in names[::every]])
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.grid(axis="x", visible=False)


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"


def _parallel(search: Search, scales: Sequence[Scale]) -> Figure:
    """One line per configuration over the keys to the metric; complete runs are coloured by their metric."""
    figure, axes = empty_figure(3.6)
    ranked = search.ranked[::-1]  # the best are drawn on top
    columns = [_unit([scale.at(trial) for trial in ranked], scale.is_log) for scale in scales]
    columns.append(_unit([trial.score for trial in ranked], False))
    places = np.arange(len(columns))
    best = {trial.n: place for place, trial in enumerate(search.complete)}
    for trial, heights in zip(ranked, np.array(columns).T, strict=True):
        share = 1 - best[trial.n] / max(1, len(best)) if trial.is_complete else 0.0
        colour = FOUND if trial.is_complete else STOPPED
        axes.plot(places, heights, color=colour, alpha=0.1 + 0.8 * share**3, linewidth=0.8 + share)
    names = short_names([scale.key for scale in scales])
    labels = [_cut(names[scale.key]) for scale in scales]
    axes.set_xticks(places, [*labels, search.metric.name])
    axes.set_xlim(-0.15, len(columns) - 0.85)
    axes.set_ylim(-0.12, 1.08)
    axes.set_yticks([])
    axes.grid(axis="x", visible=True)
    for place, scale in enumerate(scales):
        _label_ends(axes, place, *_ends(search, scale))
    scores = [trial.score for trial in ranked]
    _label_ends(axes, len(scales), f"{min(scores):.3f}", f"{max(scores):.3f}")
    return figure


def _ends(search: Search, scale: Scale) -> tuple[str, str]:
    if scale.names:
        return scale.names[0], scale.names[-1]
    values = [scale.at(trial) for trial in search.ranked if scale.key in trial.values]
    return (f"{min(values):g}", f"{max(values):g}") if values else ("", "")


def _label_ends(axes: Axes, place: int, low: str, high: str) -> None:
    axes.text(place, -0.03, _cut(low), ha="center", va="top", fontsize=8)
    axes.text(place, 1.03, _cut(high), ha="center", va="bottom", fontsize=8)


def _unit(values: Sequence[float], is_log: bool) -> np.ndarray:
    """The values between 0 and 1, where all of them are the same in the middle."""
    array = np.log(values) if is_log else np.array(values, dtype=float)
    if not np.isfinite(array).any():
        return np.full(len(array), math.nan)
    low, high = np.nanmin(array), np.nanmax(array)
    return (array - low) / (high - low) if high > low else np.where(np.isnan(array), math.nan, 0.5)


def _importance(importance: Mapping[str, float]) -> Figure:
    figure, axes = empty_figure(0.6 + 0.28 * len(importance))
    shares = [100 * share for share in importance.values()]
    axes.barh(range(len(shares)), shares, color=FOUND, height=0.6)
    axes.set_yticks(range(len(shares)), list(importance))
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlabel("importance, %")
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    return figure
