"""The configuration of one run, and what it and grids are read with. Light to import (no torch)."""

from shards.tasks import TASKS

from .flat import flatten, signature, unflatten
from .run import (
    MAX_BYTES,
    PATHS,
    RunConfig,
    build,
    canonical,
    dump,
    explain,
    fields,
    load,
    unknown_key,
)
from .sections import Task

__all__ = [
    "MAX_BYTES",
    "PATHS",
    "TASKS",
    "RunConfig",
    "Task",
    "build",
    "canonical",
    "dump",
    "explain",
    "fields",
    "flatten",
    "load",
    "signature",
    "unflatten",
    "unknown_key",
]
