"""`pack.json`: what a folder of shards was packed from, so that a packing continues only what it began."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import atomic_write
from .index import INDEX_NAME

NAME = "pack.json"
VERSION = 5
WITH_NUMBERS = 4  # the version whose samples hold the perceptual hash as a number of up to 64 bits


def settings_of(
    inputs: str, files: Iterable[tuple[str, Path]], short_side: int, quality: int, shard_samples: int
) -> dict[str, Any]:
    """The settings, and a digest of what is packed: `inputs`, the digest of the labels, and each path with its file."""
    digest = hashlib.sha256(inputs.encode())
    for path, file in files:
        digest.update(f"{path}\0{_size(file)}\n".encode())
    return {
        "version": VERSION,
        "short_side": short_side,
        "quality": quality,
        "shard_samples": shard_samples,
        "inputs": digest.hexdigest(),
    }


def check_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Raise `UserError` if `out` is not a folder, or holds shards of other inputs or settings."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder as --out")
    if (out / NAME).exists():
        held = _held(out)
        if held not in [{**settings, "version": version} for version in (WITH_NUMBERS, VERSION)]:
            raise UserError(
                f"{out} holds shards of other paintings, labels or settings; choose another --out or delete it"
            )
    elif out.exists() and any(path.suffix == ".tar" or path.name == INDEX_NAME for path in out.iterdir()):
        raise UserError(f"{out} holds shards that this command did not make; choose another --out")


def claim_folder(out: Path, settings: Mapping[str, Any]) -> int:
    """Write the settings unless they are there, and return the version that the samples of the folder have."""
    if not (out / NAME).exists():
        atomic_write(out / NAME, json.dumps(settings))
    return int(_held(out)["version"])


def jpeg_settings(folder: Path) -> dict[str, int]:
    """The `short_side` in pixels and the `quality` of the JPEGs in a folder of shards, as far as it says them."""
    if not (folder / NAME).is_file():  # a copy of the shards may lack it
        return {}
    held = _held(folder)
    return {key: held[key] for key in ("short_side", "quality") if isinstance(held.get(key), int)}


def _held(out: Path) -> dict[str, Any]:
    try:
        held = json.loads((out / NAME).read_bytes())
    except ValueError:
        held = None
    return held if isinstance(held, dict) else {}


def _size(file: Path) -> int:
    """Return the size of a file in bytes, or -1 for a broken link, which the report will name."""
    try:
        return file.stat().st_size
    except OSError:
        return -1
