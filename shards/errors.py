"""How commands report wrong input: one sentence, exit code 2, no traceback."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from . import streams


class Main(Protocol):
    """A command's entry point: takes arguments (default: those of the process) and returns the exit code."""

    def __call__(self, argv: Sequence[str] | None = None) -> int: ...


class UserError(Exception):
    """Wrong input. The message is one sentence: what is wrong, where, and what to do about it."""


def _print(sentence: str) -> None:
    print(streams.harmless(sentence), file=sys.stderr, flush=True)


def command(main: Main, report: Callable[[str], None] = _print) -> Main:
    """Decorate a `main(argv) -> exit code` so that it reports errors without a traceback: on stderr, or by `report`.

    Returns 2 on `UserError` and `OSError`, and 130 on Ctrl-C. That nobody reads its output is no error.
    """

    @functools.wraps(main)
    def wrapped(argv: Sequence[str] | None = None) -> int:
        streams.prepare()
        try:
            try:
                return main(argv)
            finally:
                sys.stdout.flush()
        except UserError as error:
            said = str(error)
        except KeyboardInterrupt:
            return 130
        except OSError as error:
            file = error.filename2 or error.filename  # for a rename: the target, which is the name the user knows
            where = f"{file}: " if file else ""
            said = f"{where}{error.strerror or error}; choose another place or fix it"
        except UnicodeEncodeError as error:
            if error.encoding != sys.getfilesystemencoding():
                raise
            said = f"{error.object!a} is no file name in the {error.encoding} of this locale; set PYTHONUTF8=1"
        report(f"error: {said}")
        return 2

    return wrapped
