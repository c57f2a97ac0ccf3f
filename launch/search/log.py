"""What a search asks for is written down in `search.jsonl`.

A line is written and flushed before its run begins, while the lock of the sweep is held: whatever is killed, no
configuration is asked for twice.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from artnet.search_log import Asked
from shards.files import open_log, open_regular


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
