"""The next configuration of a search. Pure: a function of the space, the seed, the number and the history.

Nothing of a sampler is kept between two questions: it is rebuilt from the history and seeded by the number, so any
process that sees the same runs asks for the same configuration.
"""

import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..grid.distributions import Distribution
from ..grid.search_space import Dimension, SearchSpace
from ..grid.space import Values
from .scheduler import Scheduler
from .trials import Outcome, Trial

LEARNS = ("tpe", "gp", "cmaes")  # from results: the others cover the space
SIGMA = 0.25  # of CMA-ES at its start, as a share of each range


@dataclass(frozen=True)
class Question:
    """What a searcher is asked: the configuration of this `number` at a `point` of the lists, given the `trials`.

    `covered` is how many configurations the point has had before.
    """

    space: SearchSpace
    seed: int
    number: int
    point: int
    covered: int
    trials: Sequence[Trial]
    scheduler: Scheduler  # knows which of two scores is better

    @property
    def random_state(self) -> int:
        """The seed of this question alone, below 2^31."""
        return int(np.random.SeedSequence([self.seed, self.number]).generate_state(1)[0] >> 1)

    def random(self) -> Values:
        """The random configuration of this question."""
        return self.space.random(self.point, self.covered, self.seed)


def suggest(searcher: str, question: Question) -> Values:
    """The values of the varied keys of the next configuration."""
    by_name: Mapping[str, Callable[[Question], Values]] = {
        "random": Question.random,
        "qmc": _qmc,
        "cmaes": _cmaes,
        "tpe": _optuna,
        "gp": lambda question: _optuna(question, gaussian=True),
    }
    return by_name[searcher](question)


def scores(question: Question) -> dict[int, float]:
    """What the sampler is to make large, by the numbers of the trials that have a finite score.

    Points of the lists may be as different as tasks are: with several, a score is in standard deviations above the
    mean of its point.
    """
    known: dict[int, dict[int, float]] = {}
    for trial in question.trials:
        score = question.scheduler.score(trial.curve)
        if np.isfinite(score) and trial.outcome in (Outcome.COMPLETE, Outcome.STOPPED_EARLY, Outcome.OPEN):
            known.setdefault(trial.point, {})[trial.n] = score if question.scheduler.maximize else -score
    if len(question.space.points) == 1:
        return {n: score for group in known.values() for n, score in group.items()}
    found: dict[int, float] = {}
    for group in known.values():
        mean, spread = statistics.fmean(group.values()), statistics.pstdev(group.values()) or 1.0
        found |= {n: (score - mean) / spread for n, score in group.items()}
    return found


def _optuna(question: Question, gaussian: bool = False) -> Values:
    """Ask a sampler of Optuna whose study is made of the history."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler: Any
    if gaussian:
        sampler = optuna.samplers.GPSampler(seed=question.random_state, n_startup_trials=0)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # of `group`
            sampler = optuna.samplers.TPESampler(
                seed=question.random_state, n_startup_trials=0, multivariate=True, group=True, constant_liar=True
            )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    known = scores(question)
    if gaussian and not known:
        return question.random()
    worst = min(known.values(), default=0.0)
    for trial in question.trials:
        if frozen := _frozen(question, trial, known, worst, gaussian):
            study.add_trial(frozen)
    values, asked = dict(question.space.points[question.point]), study.ask()
    for dimensions in question.space.stages(values):
        values |= {one.distribution.key: _suggested(asked, one) for one in dimensions}
    return values


def _suggested(asked: Any, dimension: Dimension) -> Any:
    """The value that Optuna suggests."""
    one, name = dimension.distribution, dimension.name
    if one.kind == "choice":  # by its index: a value may be a list
        return one.values[asked.suggest_categorical(name, tuple(range(len(one.values))))]
    distribution = _optuna_distribution(dimension)
    how = {"log": distribution.log, "step": distribution.step}
    suggested = asked.suggest_int if isinstance(one.values[0], int) else asked.suggest_float
    return one.rounded(suggested(name, distribution.low, distribution.high, **how))


def _frozen(question: Question, trial: Trial, known: Mapping[int, float], worst: float, gaussian: bool) -> Any:
    """A trial as Optuna knows it; None for one that says nothing.

    A run that was stopped early is pruned, and one that cannot be trained before its first epoch, which is the worst.
    The Gaussian process learns from complete ones alone, so that there both are complete.
    """
    from optuna.trial import TrialState, create_trial

    state = {
        Outcome.OPEN: TrialState.RUNNING,
        Outcome.COMPLETE: TrialState.COMPLETE,
        Outcome.STOPPED_EARLY: TrialState.PRUNED,
        Outcome.UNTRAINABLE: TrialState.PRUNED,
        Outcome.FAILED: TrialState.FAIL,
    }[trial.outcome]
    if gaussian and state == TrialState.PRUNED:
        state = TrialState.COMPLETE
    value = known.get(trial.n, worst) if gaussian else known.get(trial.n)
    if state == TrialState.FAIL or (state == TrialState.COMPLETE and value is None):
        return None
    dimensions = _dimensions(question.space, trial)
    steps = {}
    if state != TrialState.COMPLETE and value is not None:
        steps = {len(trial.curve): value}
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params={one.name: _internal(one.distribution, trial.values) for one in dimensions},
        distributions={one.name: _optuna_distribution(one) for one in dimensions},
        intermediate_values=steps,
    )


def _dimensions(space: SearchSpace, trial: Trial) -> list[Dimension]:
    values = dict(space.points[trial.point])
    found: list[Dimension] = []
    for dimensions in space.stages(values):
        found += dimensions
        values |= {one.distribution.key: trial.values[one.distribution.key] for one in dimensions}
    return found


def _optuna_distribution(dimension: Dimension) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    one = dimension.distribution
    if one.kind == "choice":
        return CategoricalDistribution(tuple(range(len(one.values))))
    low, high = one.values[:2]
    is_log = one.kind == "loguniform"
    if isinstance(low, int):
        return IntDistribution(low, high, log=is_log, step=one.values[2] if one.kind == "quantized" else 1)
    step = {"quantized": one.values[-1], "randint": 1.0}.get(one.kind)
    return FloatDistribution(low, high, log=is_log, step=step)


def _internal(one: Distribution, values: Values) -> Any:
    return _index(one, values[one.key]) if one.kind == "choice" else values[one.key]


def _index(one: Distribution, value: Any) -> int:
    return next(index for index, other in enumerate(one.values) if other == value)


def _qmc(question: Question) -> Values:
    """The point of this number of a scrambled Sobol sequence; what depends on other values is random."""
    from scipy.stats import qmc

    values = dict(question.space.points[question.point])
    first = next(question.space.stages(values), [])
    drawn = question.random()
    if not first:
        return drawn
    sequence = qmc.Sobol(len(first), rng=np.random.default_rng([question.seed, question.point]))
    if question.covered:
        sequence.fast_forward(question.covered)
    return _filled(question, first, sequence.random(1)[0])


def _cmaes(question: Question) -> Values:
    """CMA-ES over the numbers of the space, rebuilt from the generations that have ended; choices are random."""
    from cmaes import CMA

    first = next(question.space.stages(dict(question.space.points[question.point])), [])
    numeric = [one for one in first if one.distribution.kind != "choice"]
    known = scores(question)
    ended = [trial for trial in question.trials if trial.n in known and trial.outcome is not Outcome.OPEN]
    if not numeric or not ended:
        return question.random()

    def place(trial: Trial) -> np.ndarray:
        shares = [one.distribution.share(trial.values[one.distribution.key]) for one in numeric]
        return np.array([*shares, *[0.5] * (len(numeric) == 1)])  # it needs two dimensions

    before = [trial for trial in ended if trial.searcher != "cmaes"] or ended[:1]
    start = place(max(before, key=lambda trial: known[trial.n]))
    bounds = np.array([[0.0, 1.0]] * len(start))
    evolution = CMA(mean=start, sigma=SIGMA, bounds=bounds, seed=question.random_state)
    own = sorted((trial for trial in ended if trial.searcher == "cmaes"), key=lambda trial: trial.n)
    size = evolution.population_size
    for begin in range(0, len(own) - size + 1, size):
        evolution.tell([(place(trial), -known[trial.n]) for trial in own[begin : begin + size]])
    return _filled(question, numeric, evolution.ask())


def _filled(question: Question, dimensions: Sequence[Dimension], shares: Sequence[float]) -> Values:
    """The random configuration of a question, but for these dimensions; what depends on them is drawn for them."""
    chosen = {
        one.distribution.key: _at(one.distribution, share) for one, share in zip(dimensions, shares, strict=False)
    }
    return question.space.random(question.point, question.covered, question.seed, given=chosen)


def _at(one: Distribution, share: float) -> Any:
    return one.at(min(int(share * len(one.values)), len(one.values) - 1) if one.kind == "choice" else share)
