"""What the workers of a search do: `SWEEP/slurm/search.json`, as the last launch wrote it.

All workers read it each time they look for a run: those that are at work follow a later launch, such as one with more
trials, and an edit of the grid's file does nothing before that.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from artnet.formats import FORMAT, check_format
from artnet.rundir import read_json, write_json
from shards.errors import UserError

from ..grid import load
from ..sweep.folder import SweepDir
from .block import TuneBlock
from .study import Study


class Spec(BaseModel):
    """The search: the grid's file and its `text` then, the `sets` of the command line, and the `tune:` block.

    `folder` is the working directory, which paths are relative to. `until` is the number of lines of `search.jsonl` at
    which nothing more is asked for, None: without a limit. The runs in `held` are left to a later launch.
    """

    format: int = FORMAT
    folder: Path
    grid: Path
    text: str
    sets: list[str]
    block: TuneBlock
    until: int | None = None
    held: list[str] = []

    @staticmethod
    def file(sweep: SweepDir) -> Path:
        """Where it is."""
        return sweep.folder / "slurm" / "search.json"

    @classmethod
    def of(cls, study: Study, sets: Sequence[str], until: int | None, held: Sequence[str]) -> "Spec":
        """The spec of a study as this process has opened it."""
        grid = study.grid
        return cls(
            folder=Path.cwd(),
            grid=grid.file, text=grid.document.text, sets=list(sets), block=study.block, until=until, held=list(held),
        )  # fmt: skip

    def write(self, sweep: SweepDir) -> None:
        """Write the file."""
        write_json(self.file(sweep), self.model_dump(mode="json"))

    @classmethod
    def read(cls, sweep: SweepDir) -> "Spec":
        """Read the file. Raises `UserError` if it is missing or broken."""
        file = cls.file(sweep)
        content = read_json(file)
        check_format(file, content)
        try:
            return cls.model_validate(content)
        except ValidationError:
            raise UserError(f"{file} is missing or broken; submit the grid again") from None

    def study(self, sweep: SweepDir) -> Study:
        """The search. It changes the working directory. Raises `UserError` for what is wrong on this node."""
        try:
            os.chdir(self.folder)
        except OSError as error:
            raise UserError(
                f"{self.folder}, where the grid was submitted, is not on this node: {error.strerror}"
            ) from None
        return Study(sweep, load(self.grid, self.text), self.block, self.sets)
