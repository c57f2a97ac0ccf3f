"""Output and questions of the launchers: results on stdout, progress and questions on stderr."""

import sys

from rich.console import Console

from shards.errors import UserError
from shards.streams import harmless


def console() -> Console:
    """The console for results. Without a terminal it is wide enough that no line is wrapped or cut."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=max(200, plain.width))


def say(message: str) -> None:
    """Print a line about progress to stderr."""
    print(harmless(message), file=sys.stderr, flush=True)


def ask(question: str, yes: bool) -> bool:
    """Ask whether the user agrees to something that cannot be undone; `yes`, the option `--yes`, answers it.

    Raises `UserError` if stdin is not a terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question}; give --yes to agree, as there is no terminal to ask on")
    print(f"{question}; type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() == "yes":
        return True
    say("nothing was done")
    return False
