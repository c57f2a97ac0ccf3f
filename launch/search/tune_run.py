"""Ray Tune's interfaces over a study: its searcher asks, its scheduler judges, and neither keeps a state."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from artnet.rundir import RunDir

from ..grid import Expansion
from ..sweep.folder import note_state
from ..sweep.state import State
from .actor import TrialActor
from .study import Study
from .trials import Trial

Say = Callable[..., None]


class StudySearcher(Searcher):
    """Hands Ray the runs of a study: those that are to be started or go on, then new ones until nothing is left.

    `more` limits how many new ones are asked for; None: as many as the study asks.
    """

    def __init__(
        self, study: Study, queue: Sequence[RunDir], more: int | None, parallel: int, common: Mapping[str, Any]
    ) -> None:
        super().__init__(metric="metric", mode="max")
        self.study = study
        self.queue = list(queue)
        self.more = more
        self.parallel = parallel
        self.common = dict(common)
        self.live: dict[str, RunDir] = {}
        self.began = time.time()

    def suggest(self, trial_id: str) -> Any:
        """The next run; None while all places are taken, or while what is next depends on runs that go on."""
        if len(self.live) >= self.parallel:
            return None
        if not self.queue and not self._ask():
            return None if self.live else Searcher.FINISHED
        folder = self.live[trial_id] = self.queue.pop(0)
        return {"run": {**self.common, "folder": str(folder.path.resolve()), "began": self.began}}

    def _ask(self) -> bool:
        """Add what is next to the queue. False if nothing is, for now or at all."""
        history = self.study.history()
        if self.more is None or self.more > 0:
            if (trial := self.study.ask(history)) is not None:
                self.more = None if self.more is None else self.more - 1
                self._add([trial])
                return True
            if not self.live and (trials := self.study.ask_again(history)):
                self._add(trials)
                return True
        return False

    def _add(self, trials: Sequence[Trial]) -> None:
        history = self.study.history()
        runs = [trial.run for trial in trials]
        self.study.sweep.commit(self.study.grid, Expansion(runs, ""), self.study.runs(history))
        self.queue += [trial.folder for trial in trials]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A place is free again."""
        folder = self.live.pop(trial_id, None)
        if folder is not None and error:
            note_state(folder, State.FAILED, "the Ray process that trained it was killed again and again")

    def __getstate__(self) -> dict[str, Any]:
        """Nothing is pickled: the sweep's folder is the state."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing, as above."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""


class StudyScheduler(FIFOScheduler):
    """Judges each epoch that is reported."""

    def __init__(self, study: Study, say: Say) -> None:
        super().__init__()
        self.study = study
        self.say = say
        self.said: dict[str, int] = {}  # the last epoch of each run

    def __getstate__(self) -> dict[str, Any]:
        """Nothing is pickled: the sweep's folder is the state."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether the run goes on."""
        name, epoch = self._say(trial, result)
        if self.study.judge(name, epoch):
            self.say(f"{name}: stopped early after epoch {epoch}")
            return str(TrialScheduler.STOP)
        return str(TrialScheduler.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """The last epoch of a run, which is not judged any more."""
        self._say(trial, result)

    def _say(self, trial: Any, result: dict[str, Any]) -> tuple[str, int]:
        name, epoch = Path(trial.config["run"]["folder"]).name, int(result["epoch"])
        # It may have ended without an epoch more.
        if math.isfinite(result["metric"]) and epoch > self.said.get(name, 0):
            self.said[name] = epoch
            self.say(f"{name} epoch {epoch} {self.study.grid.metric['name']} {result['metric']:.4f}", epoch=epoch)
        return name, epoch


def tune_runs(
    study: Study,
    queue: Sequence[RunDir],
    more: int | None,
    parallel: int,
    common: Mapping[str, Any],
    notes: Path,
    say: Say,
) -> None:
    """Let Ray Tune train the runs of a study, until nothing is left to train. `notes` is Ray's own folder."""
    searcher = StudySearcher(study, queue, more, parallel, common)
    tune.Tuner(
        TrialActor,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=StudyScheduler(study, say),
            num_samples=-1,  # until the searcher has finished
            trial_name_creator=lambda trial: Path(trial.config["run"]["folder"]).name,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            storage_path=str(notes),
            failure_config=tune.FailureConfig(max_failures=study.block.max_failures),
            verbose=0,
        ),
    ).fit()
