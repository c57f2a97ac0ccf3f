"""A search: asking for configurations and judging runs, by the sweep's folder alone.

Ray Tune, workers in jobs and a single process call the same two functions, `ask` and `judge`, and none of them keeps
a state of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from artnet.config.paths import beside, expanded
from artnet.search_log import Asked
from shards.errors import UserError

from ..grid import Grid, Run
from ..grid.candidates import Candidate, candidate
from ..grid.expand import MAX_RUNS
from ..grid.search_space import SearchSpace
from ..grid.space import Values
from ..sweep.folder import SweepDir, note_state
from ..sweep.state import State
from . import log
from .block import TuneBlock
from .history import History, Reader
from .scheduler import Scheduler
from .searcher import LEARNS, Question, suggest
from .trials import Outcome, Trial

ATTEMPTS = 100  # to find a configuration that was not tried before


@dataclass(frozen=True)
class Proposal:
    """The next configuration, before it is asked for: its run, and who has chosen it."""

    candidate: Candidate
    run: Run
    values: Values
    searcher: str


class Study:
    """The search of a grid. Everything that it decides follows from the grid and what is in the sweep's folder."""

    def __init__(self, sweep: SweepDir, grid: Grid, block: TuneBlock, sets: Sequence[str]) -> None:
        self.sweep = sweep
        self.grid = grid
        self.block = block
        self.space = SearchSpace(grid, sets)
        self.reader = Reader(sweep, self.space, grid.metric["name"], known_sweeps(grid, block))
        points = len(self.space.points)
        self.count = block.count(points) if self.space.is_drawn else points

    def history(self) -> History:
        """What has become of the search so far."""
        return self.reader.read()

    def runs(self, history: History) -> list[Run]:
        """The runs of the search: those that the grid includes, those asked for, and those that confirm the best."""
        stated = [
            candidate(self.grid, self.space.fixed | entry, ("include", index)).run(self.grid)
            for index, entry in enumerate(self.grid.include)
        ]
        confirming = (trial.run for group in history.confirming.values() for trial in group)
        runs = [*map(self.sweep.begun, stated), *(trial.run for trial in history.trials), *confirming]
        return list({run.config.signature: run for run in runs}.values())

    def upcoming(self, history: History) -> list[Run]:
        """The runs that will be asked for next, as far as they do not depend on results, but for --limit."""
        ahead, runs = history, []
        while not self.is_spent(ahead) and self._is_certain(ahead) and (proposal := self.propose(ahead)) is not None:
            placed = self.space.place(proposal.candidate.flat)
            if placed is None:
                break
            run = proposal.run
            new = Trial(ahead.next_n, *placed, run, run.config.signature, self.sweep.run(run), proposal.searcher)
            ahead = replace(ahead, trials=[*ahead.trials, new], next_n=ahead.next_n + 1)
            runs.append(run)
            if len(runs) >= MAX_RUNS:
                break
        return runs

    def _is_certain(self, history: History) -> bool:
        """Whether the next configuration depends on no result."""
        asked, learnt_from = len(history.trials), len(history.learnt_from)
        learns = self.block.searcher in LEARNS and self.space.is_drawn
        if self.count is None and asked >= max(self.block.startup, 1):
            return False
        return asked < len(self.block.first) or not learns or learnt_from < self.block.startup

    def scheduler(self, trials: Sequence[Trial]) -> Scheduler:
        """The rules by which the runs are judged; the longest of them sets the rungs."""
        return self.scheduler_for(max((trial.run.config.train.epochs for trial in trials), default=1))

    def scheduler_for(self, epochs: int) -> Scheduler:
        """The rules where the longest run has so many epochs."""
        return Scheduler(
            kind=self.block.scheduler,
            grace=self.block.grace(epochs),
            reduction=self.block.reduction_factor,
            epochs=epochs,
            maximize=self.grid.metric["goal"] == "maximize",
            best=self.grid.metric["scope"] == "best",
        )

    def is_spent(self, history: History) -> bool:
        """Whether no more configurations are asked for."""
        if self.count is not None:
            return len(history.trials) >= self.count
        budget = self.block.budget
        if budget is None or budget.epochs is not None:
            return budget is None or history.epochs >= (budget.epochs or 0)
        return history.hours >= (budget.hours or 0)

    def has_more(self, history: History) -> bool:
        """Whether there is a configuration to ask for, or one to confirm."""
        asks = not self.is_spent(history) and self.propose(history) is not None
        return asks or bool(self.confirm(history))

    def propose(self, history: History) -> Proposal | None:
        """The next configuration; None if every one of a finite space has been tried."""
        tried = {trial.signature for trial in history.learnt_from}
        sizes = [sum(trial.point == point for trial in history.trials) for point in range(len(self.space.points))]
        for point in sorted(range(len(sizes)), key=lambda point: sizes[point]):  # in turn
            question = Question(
                self.space, self.block.seed, history.next_n, point, sizes[point], history.learnt_from,
                self.scheduler(history.learnt_from),
            )  # fmt: skip
            if (proposal := self._propose(question, len(history.trials), tried)) is not None:
                return proposal
        return None

    def _propose(self, question: Question, asked: int, tried: set[str]) -> Proposal | None:
        values, searcher = self._first(question, asked)
        for attempt in range(1, ATTEMPTS + 1):
            built = self.space.candidate(values)
            run = self.sweep.begun(built.run(self.grid))
            if run.config.signature not in tried and not self.space.is_excluded(built.flat):
                return Proposal(built, run, values, searcher)
            values = self.space.random(question.point, question.covered, question.seed, attempt)
            searcher = "random"
        return None

    def _first(self, question: Question, asked: int) -> tuple[Values, str]:
        """What is asked before it is known whether it was tried: the first values, a random one, or the searcher's."""
        block = self.block
        if asked < len(block.first):
            first = self.space.given(block.first[asked])
            return self.space.random(question.point, question.covered, block.seed, given=first), "first"
        if not self.space.is_drawn or (block.searcher in LEARNS and len(question.trials) < block.startup):
            return question.random(), "random"
        return suggest(block.searcher, question), block.searcher

    def ask(self, history: History, limit: int | None = None) -> Trial | None:
        """Ask for the next configuration and write it down; None if there is no more to ask for.

        The lock of the sweep must be held. `history` must be of now.
        """
        if self.is_spent(history) or (proposal := self.propose(history)) is None:
            return None
        line = _line(
            history.next_n, proposal.candidate, proposal.run, proposal.searcher, self.block.seed, proposal.values
        )
        log.append(self.reader.file, [line])
        return self.history().by_name[proposal.run.config.name]

    def claim(self, runs: Sequence[Run]) -> None:
        """Ask for these runs of a grid, of which nothing is drawn. The lock of the sweep must be held."""
        first = self.history().next_n
        built = [self.space.candidate(run.values) for run in runs]
        log.append(
            self.reader.file,
            [
                _line(first + place, one, run, "random", self.block.seed, run.values)
                for place, (one, run) in enumerate(zip(built, runs, strict=True))
            ],
        )

    def begin(self) -> None:
        """Write down what an earlier version has drawn, before the manifest names what is asked for now."""
        if not self.reader.file.exists():
            log.append(self.reader.file, self.reader.asked())

    def judge(self, name: str, epoch: int) -> bool:
        """Whether the run of this name is stopped after an `epoch`. It is recorded; each epoch is judged once."""
        history = self.history()
        trial = history.by_name.get(name)
        if trial is None or trial.outcome is Outcome.COMPLETE:
            return False
        state = trial.folder.state()
        if state.promoted:
            return False
        if state.stopped_epoch is not None:
            return epoch >= state.stopped_epoch
        if epoch <= (state.judged_epoch or 0):
            return False
        scheduler = self.scheduler(history.learnt_from)
        others = {
            other.n: other.curve for other in history.learnt_from if other.point == trial.point and other.n != trial.n
        }
        if scheduler.stops(trial.n, trial.curve[:epoch], others):
            reason = f"after epoch {epoch} of {trial.run.config.train.epochs}"
            note_state(trial.folder, State.STOPPED_EARLY, reason, judged_epoch=epoch, stopped_epoch=epoch)
            return True
        if epoch in scheduler.rungs(scheduler.bracket(trial.n)) or scheduler.kind == "median":
            note_state(trial.folder, State(state.state or State.RUNNING), state.reason, judged_epoch=epoch)
        return False

    def ranked(self, trials: Sequence[Trial]) -> list[Trial]:
        """The complete trials, the best first; of equal ones the earlier."""
        scheduler = self.scheduler(trials)
        complete = [trial for trial in trials if trial.outcome is Outcome.COMPLETE]
        scored = [(scheduler.score(trial.curve), trial) for trial in complete]
        known = [(score, trial) for score, trial in scored if score == score]
        return [trial for _, trial in sorted(known, key=lambda pair: -pair[0] if scheduler.maximize else pair[0])]

    def ask_again(self, history: History) -> list[Trial]:
        """Ask for the runs that confirm the best configurations, all of which have ended. The lock must be held."""
        lines = self.confirm(history)
        log.append(self.reader.file, lines)
        names = {line.name for line in lines}
        confirming = self.history().confirming.values()
        return [trial for group in confirming for trial in group if trial.folder.name in names]

    def confirm(self, history: History) -> list[Asked]:
        """The lines of the runs that confirm the best configurations and were not asked for yet."""
        confirm = self.block.confirm
        if confirm is None:
            return []
        asked = {line.signature for line in self.reader.asked()}
        lines: list[Asked] = []
        for trial in self.ranked(history.trials)[: confirm.top]:
            for seed in confirm.seeds:
                built = self.space.candidate(trial.values | {"seed": seed})
                run = self.sweep.begun(built.run(self.grid))
                if run.config.signature not in asked:
                    number = history.next_n + len(lines)
                    line = _line(number, built, run, "confirm", seed, trial.values)
                    lines.append(line.model_copy(update={"confirms": trial.n}))
        return lines


def _line(n: int, built: Candidate, run: Run, searcher: str, seed: int, keys: Iterable[str]) -> Asked:
    """The line of `search.jsonl` for a run, with its values of these keys."""
    values = {key: built.flat[key] for key in keys}
    config = run.config
    return Asked(n=n, values=values, signature=config.signature, name=config.name, searcher=searcher, seed=seed)


def known_sweeps(grid: Grid, block: TuneBlock) -> list[Path]:
    """The folders of `known`. Raises `UserError` with file and line for one that holds no runs."""
    folders = []
    for index, given in enumerate(block.known):
        folder = Path(str(expanded(beside(given, grid.file.parent))))
        if not (folder / "manifest.json").exists():
            where = grid.where("tune", "known", index)
            raise UserError(
                f"{where}: tune.known: {given} holds no runs; give the folder of a sweep, such as runs/ablation"
            )
        folders.append(folder)
    return folders
