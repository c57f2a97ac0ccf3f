"""Another user of the machine, as whom only root can act."""

import contextlib
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

UID = 54321
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach; those of pytest are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def as_other(action: Callable[[], object], gid: int = UID, *, uid: int = UID) -> Iterator[str]:
    """What `action` returns in a process of another user, or the error that it raises. The process stays to the end."""
    said, say = os.pipe()
    ended, end = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(end)
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            try:
                answer = str(action())
            except Exception as error:
                answer = "".join(traceback.format_exception_only(error)).strip()
            os.write(say, answer.encode())
            os.close(say)
            os.read(ended, 1)
        finally:
            os._exit(0)
    os.close(say)
    os.close(ended)
    try:
        with open(said, "rb") as answer:  # noqa: PTH123
            yield answer.read().decode()
    finally:
        os.close(end)
        os.waitpid(child, 0)
