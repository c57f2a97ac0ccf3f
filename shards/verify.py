"""`python -m shards.verify SHARDS`: check that every byte of the shards is still as it was packed.

Exit codes: 0 everything is intact, 1 something is damaged (one line each on stderr), 2 wrong input.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from .errors import command
from .files import file_sha256, open_regular
from .index import Index, read_index
from .progress import progress
from .streams import harmless

MAX_NAMED = 10  # damaged images that are named per shard


def find_damage(index: Index) -> Iterator[str]:
    """Yield one sentence per shard of the index that says what is wrong with it; empty if it is intact."""
    rows: dict[str, list[int]] = {name: [] for name in index.checksums}
    for row, shard in enumerate(index.table["shard"].to_pylist()):
        rows.setdefault(shard, []).append(row)
    for name, own in rows.items():
        yield _shard_damage(index, name, own)


def _shard_damage(index: Index, name: str, rows: Sequence[int]) -> str:
    file = index.folder / name
    table = index.table.take(rows).select(["key", "offset", "length", "sha256"]).to_pylist()
    try:
        if file_sha256(file) == index.checksums.get(name):
            return ""
        with open_regular(file) as tar:
            damaged = [painting["key"] for painting in table if not _is_intact(tar, painting)]
        is_short = file.stat().st_size < max(painting["offset"] + painting["length"] for painting in table)
    except FileNotFoundError:
        return f"{file} is missing, with {len(rows):,} paintings"
    except OSError as error:
        return f"{file} cannot be read ({error.strerror})"
    what = "is cut short" if is_short else "has changed since it was packed"
    if not damaged:
        return f"{file} {what}: its images are intact, but not all of their names and labels"
    return f"{file} {what}: {len(damaged):,} of {len(rows):,} images are damaged, {', '.join(damaged[:MAX_NAMED])}" + (
        " and more" if len(damaged) > MAX_NAMED else ""
    )


def _is_intact(tar: BinaryIO, painting: Mapping[str, Any]) -> bool:
    tar.seek(painting["offset"])
    return hashlib.sha256(tar.read(painting["length"])).hexdigest() == str(painting["sha256"])


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m shards.verify", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("shards", type=Path, metavar="SHARDS", help="folder made by shards.pack")
    index = read_index(parser.parse_args(argv).shards)
    found = []
    with progress("verifying shards", len(index.checksums)) as advance:
        for sentence in find_damage(index):
            found += [sentence] if sentence else []
            advance()
    for sentence in found:
        print(harmless(sentence), file=sys.stderr)
    if found:
        print(
            "pack again with the same command: damaged shards are written again, the others are kept", file=sys.stderr
        )
        return 1
    print(f"{index.table.num_rows:,} paintings in {len(index.checksums)} shards are as they were packed")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
