"""Which run a worker of a search trains next, and the claim on it: its job and place in the run's `state.json`.

A claim is written while the lock of the sweep is held, together with the line of `search.jsonl` for a new run. It holds
as long as the job is alive; then any other worker takes the run over. No clock is compared with that of another node.
"""

import enum
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from artnet.rundir import RunDir, RunState

from ..cluster import observe
from ..cluster.job_array import Array
from ..grid import Expansion, Run
from ..sweep.folder import note_state
from ..sweep.state import ENDED_BADLY, State
from .history import History, outcome_of
from .spec import Spec
from .study import Study
from .trials import Outcome

LOOK_EVERY_S = 30.0  # between two questions to SLURM about the jobs of claims
LOOKED_S = 5.0  # the same where there is nothing else to do
# How a run may be found whose worker has gone, for another to take it over.
FREE = (State.PLANNED, State.INTERRUPTED, State.CANCELLED, State.NODE_FAILED)


class Nothing(enum.Enum):
    """Why there is no run to train."""

    LATE = "the time limit is near"
    LATER = "runs that confirm the best follow when all others have ended"
    EVER = "the search is over, or others train what is left of it"


@dataclass
class Claims:
    """The claims of the worker at a `place` of an array, whose job has this `id`; `cluster` is as in `RunState`."""

    array: Array
    place: int
    id: str
    cluster: str = "slurm"
    looked: float = field(default=-LOOK_EVERY_S)

    def next(self, study: Study, spec: Spec, history: History) -> RunDir | Nothing:
        """Claim the next run: the worker's own, one whose worker is gone, a new one, or one that confirms the best.

        The lock of the sweep must be held, and the history of now.
        """
        left = [run for run in unfinished(study, history) if run.config.name not in spec.held]
        if run := self.own(study, left) or self._free(study, left):
            return self._claim(study, run)
        asks = spec.until is None or len(study.reader.asked()) < spec.until
        if asks:
            if (trial := study.ask(history)) is not None:
                return self._claim(study, trial.run)
            if not left and not spec.held and (trials := study.ask_again(history)):
                return self._claim(study, trials[0].run)
        if run := self._free(study, left, LOOKED_S):
            return self._claim(study, run)
        confirms = asks and not spec.held and study.block.confirm is not None and not history.confirming
        return Nothing.LATER if left and confirms else Nothing.EVER

    def own(self, study: Study, left: Sequence[Run]) -> Run | None:
        """The run that this worker has claimed, such as before its job was requeued."""
        return next((run for run in left if self._is_mine(study.sweep.run(run).state())), None)

    def _is_mine(self, state: RunState) -> bool:
        return state.job_name == self.array.name and state.position == self.place

    def _free(self, study: Study, left: Sequence[Run], every_s: float = LOOK_EVERY_S) -> Run | None:
        """The first run that no worker trains. How others have ended with their job is noted."""
        claimed = []
        for run in left:
            state = study.sweep.run(run).state()
            if not state.state or (state.state == State.INTERRUPTED and state.job_name is None):
                return run
            claimed.append(run)
        if not claimed or time.monotonic() - self.looked < every_s:
            return None
        self.looked = time.monotonic()
        observed = observe.find(study.sweep, claimed, fresh=True, remember=False)
        ended = [run for run in claimed if observed.found[run.config.name].state in ENDED_BADLY]
        free = [run for run in claimed if observed.found[run.config.name].state in FREE]
        observe.note(study.sweep, [run for run in ended if run not in free], observed)
        return next(iter(free), None)

    def _claim(self, study: Study, run: Run) -> RunDir:
        folder = study.sweep.run(run)
        if not self._is_mine(folder.state()):
            study.sweep.commit(study.grid, Expansion([run], ""), study.runs(study.history()))
        note_state(
            folder, State.RUNNING, f"job {self.id} on {socket.gethostname()}", launcher="slurm", job=self.id,
            job_name=self.array.name, position=self.place, submitted=self.array.submitted,
            cluster=self.cluster, cancelled=None, exit_code=None,
        )  # fmt: skip
        return folder


def release(folder: RunDir, state: State, reason: str, **details: Any) -> None:
    """Give up the claim on a run that has not come to its end; `details` are as in `note_state`."""
    note_state(folder, state, reason, job=None, job_name=None, position=None, **details)


def unfinished(study: Study, history: History) -> list[Run]:
    """The runs that were asked for or stated and have not come to their end."""
    trials = [*history.trials, *(trial for group in history.confirming.values() for trial in group)]
    outcomes = {trial.signature: trial.outcome for trial in trials}
    return [run for run in study.runs(history) if _outcome(study, run, outcomes) is Outcome.OPEN]


def _outcome(study: Study, run: Run, known: Mapping[str, Outcome]) -> Outcome:
    signature = run.config.signature  # one that the grid includes is no trial
    return known.get(signature) or outcome_of(study.sweep.run(run), signature)[0]
