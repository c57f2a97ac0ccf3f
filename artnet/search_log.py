"""`search.jsonl`: the configurations that a search has asked for, one line each, in order."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shards.files import open_regular

from .rundir import MAX_METRICS, parse_object

NAME = "search.jsonl"


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
