"""Files that are either wholly there or not there at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# The only way to read it is to set it, which is not safe once there are threads: read it at import.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextlib.contextmanager
def atomic_open(path: Path, mode: str = "wb") -> Iterator[IO]:
    """Open a temporary neighbour of `path` for writing; flush it to disk and rename it when the block ends well.

    On any error the temporary file is removed and `path` stays as it was. `mode` is "wb" or "w"
    (UTF-8). A process killed in between leaves at most a file named `.NAME.*.tmp`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)  # mkstemp makes private files; shards and runs are shared
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` through `atomic_open`."""
    with atomic_open(path, "w" if isinstance(content, str) else "wb") as file:
        file.write(content)
