"""The format of the files in run directories and sweeps: later versions read all earlier ones."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shards.errors import UserError

# Files have it under the key `format`; those of the first version lack the key and are of format 1. A new key with a
# default needs no new format. A file that earlier versions would misread does.
FORMAT = 1


class NewerFormatError(UserError):
    """A file is neither missing nor broken: only a newer version of artnet can read it."""


def check_format(path: Path, content: Mapping[str, Any]) -> None:
    """Raise `NewerFormatError` if the file at `path`, which holds `content`, was written by a newer artnet."""
    written = content.get("format", FORMAT)
    if isinstance(written, int) and written > FORMAT:
        raise NewerFormatError(
            f"{path} was made by a newer artnet (format {written}; this one reads up to {FORMAT}); update artnet"
        )
