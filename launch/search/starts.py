"""The starts of a worker of a search: how each ended, by which its job is requeued or not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from artnet.rundir import read_json, write_json

from ..cluster.requeue import Start, refusal
from ..sweep.state import State


class Starts:
    """A file of a worker: for each start its `outcome`, empty while it runs or if it was lost, and its last `run`.

    `attempts_before` is the number of attempts that the run had recorded before.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        known = read_json(file).get("starts")
        self.earlier = [one for one in known if isinstance(one, dict)] if isinstance(known, list) else []
        self.present: dict[str, Any] = {}

    def note(self, **values: Any) -> None:
        """Record values of the present start, which begins with the first of them."""
        self.present = {"outcome": "", "run": "", "attempts_before": 0, **self.present, **values}
        write_json(self.file, {"starts": [*self.earlier, self.present]})

    def refusal_of(self, run: str, attempts: int, budget: int) -> tuple[State, str] | None:
        """Why this run is not gone on with after the starts that ended while it was trained; None if it is."""
        return refusal([start for name, start in self._ended() if name == run], attempts, budget)

    def refusal(self, budget: int) -> str:
        """Why the worker does not go on; empty if it does."""
        refused = refusal([Start(start.outcome, -1) for _, start in self._ended()], 0, budget)
        return refused[1].partition(";")[0] if refused else ""

    def _ended(self) -> Iterator[tuple[str, Start]]:
        """The starts that have ended, each with the name of its run."""
        for one in (*self.earlier, *([self.present] if self.present.get("outcome") else [])):
            before = one.get("attempts_before")
            yield str(one.get("run")), Start(str(one.get("outcome", "")), before if type(before) is int else -1)
