"""The place of this process among those that train one run, from the environment. Light to import (no torch)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from shards.errors import UserError


@dataclass(frozen=True)
class World:
    """The numbers that torchrun gives to a process; those of a single process where the environment has none."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE. Raises `UserError` if they contradict one another."""
        given = {name: environment[name] for name in NAMES if environment.get(name)}
        try:
            numbers = {name: int(value) for name, value in given.items()}
        except ValueError as error:
            raise UserError(f"{', '.join(NAMES)} must be integers ({error}); {REMEDY}") from None
        world = cls(**{name.lower(): number for name, number in numbers.items()})
        for rank, size in (("RANK", "WORLD_SIZE"), ("LOCAL_RANK", "LOCAL_WORLD_SIZE")):
            if size == "LOCAL_WORLD_SIZE" and size not in numbers and world.local_rank >= 0:
                continue  # other launchers leave it out
            number, of = getattr(world, rank.lower()), getattr(world, size.lower())
            if not 0 <= number < of:
                raise UserError(f"{rank} {number} is not between 0 and {size} {of} - 1; {REMEDY}")
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
        if world.world_size > 1 and missing:
            raise UserError(f"WORLD_SIZE is {world.world_size}, but {' and '.join(missing)} not set; {REMEDY}")
        return world


NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
REMEDY = "start ranks with torchrun, or unset these variables of another job to train in one process"
