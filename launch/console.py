"""How launchers speak and ask: results on stdout, what goes on and questions on stderr."""

import sys

from rich.console import Console

from shards.errors import UserError


def show_value(value: object) -> str:
    """A configuration value as people write it on the command line."""
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def console() -> Console:
    """The console for results: as wide as the text where nobody watches, so that no line is broken or cut."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=max(200, plain.width))


def say(message: str) -> None:
    """A line about what goes on, on stderr."""
    print(message, file=sys.stderr, flush=True)


def ask(question: str, yes: bool) -> bool:
    """Whether the user agrees to what cannot be taken back; `yes` is `--yes`.

    Raises `UserError` where nobody is there to be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(f"{question}; give --yes to agree, as nobody is at the keyboard to be asked")
    print(f"{question}; type yes to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() == "yes":
        return True
    say("nothing was done")
    return False
