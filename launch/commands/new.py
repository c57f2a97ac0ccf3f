"""Write an example of a grid, to be edited."""

import json
import os
from pathlib import Path

from rich.console import Console

from shards.errors import UserError
from shards.files import atomic_write

from ..grid.schema import NAME, NAME_RULE

EXAMPLE = Path(__file__).with_name("example.yaml")
FOLDER = Path("sweeps")


def new(name: str, door: str, console: Console) -> int:
    """Write `sweeps/NAME.yaml`, which can be launched as it is, and print the command for that. Returns 0.

    Raises `UserError` for a name that cannot name a sweep's folder, and if the file exists.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"--new {name}: {name!r} cannot name a folder; give {NAME_RULE}")
    file = FOLDER / f"{name}.yaml"
    if os.path.lexists(file):
        raise UserError(f"--new {name}: {file} exists; give another name, or remove it")
    text = EXAMPLE.read_text(encoding="utf-8").replace("runs/NAME", f"runs/{name}")
    quoted = json.dumps(name)  # YAML reads some names as numbers or truth values
    atomic_write(file, text.replace("name: NAME", f"name: {quoted}"))
    console.print(
        f"{file} is an example to edit; then: python launch/{door}.py --grid {file} --dry-run", highlight=False
    )
    return 0
