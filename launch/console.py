"""What the three doors share on the way from a grid file to a plan, and how they speak and ask."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from artnet.config import explain
from shards.errors import UserError
from shards.index import read_index
from shards.remote import local_folder

from .grid import Expansion, Grid, Run
from .sweep.folder import Sweep
from .sweep.plan import Action, Decision, outside, summary

Block = TypeVar("Block", bound=BaseModel)


def read_block(
    model: type[Block], grid: Grid, name: str, values: Mapping[str, Any], overrides: Mapping[str, Any]
) -> Block:
    """Validate a launcher's block of the grid file, with the command line's values (not None) over it.

    Raises `UserError` with the file and line of the key.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return model.model_validate({**values, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden":
            message = f"unknown key {key!r} in {name}; the keys are {', '.join(model.model_fields)}"
        else:
            message = f"{name}.{explain(error)}"
        where = f"--{key.replace('_', '-')}" if key in given else grid.where(name, *([key] if key else []))
        raise UserError(f"{where}: {message}") from None


def check_environment(grid: Grid) -> None:
    """Make sure that what `env_from` names is set: runs inherit it. Raises `UserError`; no value is ever written."""
    for name in grid.env_from:
        if name not in os.environ:
            raise UserError(f"{grid.where('env_from')}: {name} is not set; export it before launching")


def check_data(sweep: Sweep, runs: Sequence[Run]) -> None:
    """Make sure that the shards are there, and are those that the runs so far were trained on.

    Raises `UserError` naming what is missing, or the run that saw other data.
    """
    fingerprints: dict[str, str] = {}
    for run in runs:
        shards = run.config.data.shards
        if not shards:
            raise UserError("the grid names no data.shards; add it under fixed, or give --data SHARDS")
        if shards not in fingerprints:
            fingerprints[shards] = read_index(local_folder(shards)).fingerprint
        folder = sweep.run(run)
        data = folder.run().get("data")
        if isinstance(data, dict) and data.get("fingerprint") != fingerprints[shards]:
            raise UserError(
                f"{folder.path} was trained on other data than {shards} holds now; "
                "give another --runs, or delete that run"
            )


def show_plan(console: Console, grid: Grid, expansion: Expansion, decisions: Sequence[Decision], dry_run: bool) -> None:
    """Print the arithmetic, in a dry run every run, and what there is to do."""
    console.print(f"{grid.name}: {expansion.arithmetic}", highlight=False)
    if dry_run:
        table = Table(box=None, padding=(0, 2, 0, 0))
        keys = list(dict.fromkeys(key for decision in decisions for key in decision.run.values))
        for title in ("run", *(key.rpartition(".")[2] for key in keys), "state", "plan"):
            table.add_column(title, overflow="fold", no_wrap=not console.is_terminal)
        for decision in decisions:
            if not decision.in_grid:
                continue
            values = [show_value(decision.run.values.get(key, "")) for key in keys]
            cells = (decision.run.config.name, *values, decision.state.replace("_", " "), decision.action)
            table.add_row(*map(escape, cells))
        console.print(table)
    console.print(summary(decisions) or "nothing selected", highlight=False)
    if gone := outside(decisions):
        console.print(gone, highlight=False)
    if dry_run and any(decision.action is not Action.LEAVE for decision in decisions):
        console.print("dry run: nothing was started", highlight=False)


def show_value(value: object) -> str:
    """A configuration value as people write it on the command line."""
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def console() -> Console:
    """The console for results: as wide as the text where nobody watches, so that no line is broken or cut."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=max(200, plain.width))


def say(message: str) -> None:
    """A line about what goes on, on stderr."""
    print(message, file=sys.stderr, flush=True)


def ask(question: str, yes: bool) -> bool:
    """Whether the user agrees to what cannot be taken back; `yes` is `--yes`.

    Raises `UserError` where nobody is there to be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question}; give --yes to agree, as nobody is at the keyboard to be asked")
    print(f"{question}; type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() == "yes":
        return True
    say("nothing was done")
    return False
