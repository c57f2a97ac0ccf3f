"""How wrong input is told to the user: one sentence, exit code 2, no traceback."""

import functools
import os
import sys
from collections.abc import Sequence
from typing import Protocol


class Main(Protocol):
    """A command: arguments (default: the process's) in, exit code out."""

    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


class UserError(Exception):
    """Wrong input. The message is one sentence: what is wrong, where, and what to do about it."""


def command(main: Main) -> Main:
    """Turn a `main(argv) -> exit code` into one that reports `UserError` on stderr and returns 2.

    A file system that refuses is told in the same way. A reader that closes the pipe early (`| head`) and Ctrl-C end
    it without a traceback too.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        try:
            return main(argv)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            # The interpreter flushes stdout once more at exit; give it somewhere to flush to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        except OSError as error:
            file = error.filename2 or error.filename  # of a rename, the name that the user knows
            where = f"{file}: " if file else ""
            print(f"error: {where}{error.strerror or error}; choose another place or mend it", file=sys.stderr)
            return 2

    return wrapped
