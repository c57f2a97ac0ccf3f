"""How commands report wrong input: one sentence, exit code 2, no traceback."""

import functools
import os
import sys
from collections.abc import Sequence
from typing import Protocol


class Main(Protocol):
    """A command's entry point: takes arguments (default: those of the process) and returns the exit code."""

    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


class UserError(Exception):
    """Wrong input. The message is one sentence: what is wrong, where, and what to do about it."""


def command(main: Main) -> Main:
    """Decorate a `main(argv) -> exit code` so that it reports errors on stderr without a traceback.

    Returns 2 on `UserError` and `OSError`, 130 on Ctrl-C, and 141 if the reader of its output closed the pipe early
    (`| head`).
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
            file = error.filename2 or error.filename  # for a rename: the target, which is the name the user knows
            where = f"{file}: " if file else ""
            print(f"error: {where}{error.strerror or error}; choose another place or fix it", file=sys.stderr)
            return 2

    return wrapped
