"""A sweep by its folder alone: how each of its runs is found."""

from collections.abc import Callable, Sequence
from pathlib import Path

from shards.errors import UserError

from ..grid import Run
from ..grid.earlier import runs_of
from .folder import SweepDir
from .state import ENDED_WELL, Found, Observation, State

Find = Callable[[SweepDir, Sequence[Run]], Observation]


def overview(sweep: SweepDir, find: Find) -> dict[Path, Found]:
    """How each run of the sweep's manifest is found, by its folder; as planned where it was never launched.

    Raises `UserError` unless the folder is that of a sweep.
    """
    manifest = runs_of(sweep.folder)
    begun, broken = [], {}
    for run in manifest:
        try:
            if run.config_file.exists():
                begun.append(Run(run.config(), {}))
        except (UserError, OSError) as error:
            broken[run.name] = Found(State.UNREADABLE, str(error))
    found = {**find(sweep, begun).found, **broken}
    return {run.path: found.get(run.name, Found(State.PLANNED)) for run in manifest}


def is_well(now: Found) -> bool:
    """Whether a run has ended well: it is complete, or its search has stopped it early."""
    return now.state in ENDED_WELL or now.reason.startswith("stopped by ASHA")  # as earlier versions wrote
