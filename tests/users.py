"""What other users of the machine may do, which only root can try: functions in forked processes of theirs."""

import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as other users")

ALICE, BOB, MALLORY = 41001, 41002, 41003  # ids that no user has
LAB = 41100  # a group
UID = 54321


@contextmanager
def started_as(user: int, function: Callable[[], object], groups: Sequence[int] = ()) -> Iterator[int]:
    """A process of a user that has carried out the function, which may hold something, and then waits to be ended."""
    ready, write = os.pipe()

    def work() -> None:
        function()
        os.write(write, b".")
        signal.pause()

    process = multiprocessing.get_context("fork").Process(target=_act, args=(user, groups, 0o022, work, None))
    process.start()
    os.close(write)
    try:
        assert os.read(ready, 1) == b"."
        yield process.pid or 0
    finally:
        os.close(ready)
        process.kill()
        process.join()


def run_as(
    user: int, function: Callable[[], object], groups: Sequence[int] = (), umask: int = 0o022
) -> tuple[int | None, str]:
    """Let a user, who is in a group of his own and in these, call a function: its result as exit code, and the output.

    What it imports must have been imported before, as the user may not be able to read the interpreter's files.
    """
    with tempfile.TemporaryFile("w+") as out:
        process = multiprocessing.get_context("fork").Process(
            target=_act, args=(user, groups, umask, function, out.fileno())
        )
        process.start()
        process.join(60)
        process.kill()
        out.seek(0)
        return process.exitcode, out.read()


def _act(user: int, groups: Sequence[int], umask: int, function: Callable[[], object], out: int | None) -> None:
    os.setgroups(list(groups))
    os.setgid(user)
    os.setuid(user)
    os.umask(umask)
    os.environ["HOME"] = "/nonexistent"
    if out is not None:
        os.dup2(out, 1)
        os.dup2(out, 2)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    try:
        code = function()
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def give(path: Path, user: int, group: int | None = None) -> None:
    """Give a file, or a folder with all in it, to a user."""
    for each in (path, *path.rglob("*")):
        os.chown(each, user, user if group is None else group, follow_symlinks=False)


@contextmanager
def public_folder() -> Iterator[Path]:
    """A folder that every user can reach; those of pytest are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextmanager
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
