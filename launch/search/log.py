"""`search.jsonl`: the configurations that a search has asked for, one line each, in order.

A line is written and flushed before its run begins, while the lock of the sweep is held: whatever is killed, no
configuration is asked for twice.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from artnet.rundir import MAX_METRICS, parse_object
from shards.files import open_log, open_regular


class Asked(BaseModel):
    """A line: the configuration with the number `n`, by its values of the varied keys.

    `seed` is that of the search. `confirms` is the number of another configuration, which this one repeats with `seed`
    as the seed of its training.
    """

    model_config = ConfigDict(frozen=True)

    n: int = Field(ge=0)
    values: dict[str, Any]
    signature: str
    name: str = ""
    searcher: str = ""
    seed: int = 0
    confirms: int | None = None


def read(file: Path) -> list[Asked]:
    """The lines of a search; those that are cut short or broken are left out."""
    found = []
    try:
        with open_regular(file) as log:
            lines = log.read(MAX_METRICS).split(b"\n")
    except OSError:
        return []
    for line in lines:
        try:
            found.append(Asked.model_validate(parse_object(line) or {}))
        except ValidationError:
            continue
    return found


def append(file: Path, asked: Sequence[Asked]) -> None:
    """Add lines and flush them to the disk. What a killed process has left of a line is ended first."""
    text = "".join(one.model_dump_json(exclude_defaults=True) + "\n" for one in asked).encode()
    if _is_cut_off(file):
        text = b"\n" + text
    with open_log(file) as log:
        log.write(text)
        log.flush()
        os.fsync(log.fileno())


def _is_cut_off(file: Path) -> bool:
    try:
        with open_regular(file) as log:
            log.seek(-1, os.SEEK_END)
            return log.read(1) != b"\n"
    except OSError:  # also of an empty file
        return False
