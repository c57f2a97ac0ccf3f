"""A trial of a search: a configuration that was asked for, and how its run went."""

import enum
from dataclasses import dataclass

from artnet.rundir import RunDir

from ..grid import Run
from ..grid.space import Values
from .scheduler import Curve


class Outcome(enum.Enum):
    """How a trial stands, as far as a searcher is concerned."""

    OPEN = "open"  # it has not begun, runs, or will go on
    COMPLETE = "complete"
    STOPPED_EARLY = "stopped early"
    UNTRAINABLE = "untrainable"  # its loss was not finite or memory was short: a bad configuration
    FAILED = "failed"  # or cancelled: this says nothing about its configuration


@dataclass(frozen=True)
class Trial:
    """The configuration with the number `n` of a search, at one point of the grid's lists.

    `n` is negative for finished runs of other sweeps. `curve` is the metric after each epoch, up to the one after
    which the run was stopped.
    """

    n: int
    point: int
    values: Values
    run: Run
    signature: str
    folder: RunDir
    searcher: str
    outcome: Outcome = Outcome.OPEN
    curve: Curve = ()
    hours: float = 0.0
