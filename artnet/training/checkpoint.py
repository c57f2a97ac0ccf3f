"""Checkpoints: written whole or not at all, read without running code from them."""

import pickle
from pathlib import Path
from typing import Any

import torch

from shards.errors import UserError
from shards.files import atomic_open


def save(file: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values under a temporary name, flush it and rename it."""
    with atomic_open(file) as handle:
        torch.save(state, handle)


def load(file: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint, or None if there is none. Raises `UserError` if the file is broken."""
    if not file.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file} is broken ({first}); delete it to start this run again") from None
    return state
