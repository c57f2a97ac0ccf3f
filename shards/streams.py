"""Standard streams that no command fails at: closed ones, pipes whose reader has gone, terminals without Unicode."""

import codecs
import errno
import io
import os
import re
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Escape sequences write the clipboard, the title and what stands above.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and newline

# What an ASCII terminal shows in place of what we print; other characters are shown as `\xe9`.
_ASCII = {"±": "+-", "×": "x", "…": ".", "–": "-", "—": "-", "’": "'", "━": "-", "╸": "-", "╺": "-"}


class Output(io.FileIO):
    """A standard stream for output that drops what nobody can read any more.

    So a command does all of its work although `| head` has read enough or its terminal is closed.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._is_terminal = self.isatty()
        self._has_failed = False

    def write(self, data: Any) -> int:
        """Write, or drop the data. Raises `OSError` once if the file cannot take it, as on a full disk."""
        size = memoryview(data).nbytes
        if self._has_failed:
            return size
        try:
            return super().write(data)
        except OSError as error:
            is_unread = error.errno == errno.EPIPE or (error.errno == errno.EIO and self._is_terminal)
            if is_unread or self.fileno() == 2:  # there is no place left to say that standard error is full
                return size
            self._has_failed = True
            error.filename = "standard output"
            raise


def prepare() -> None:
    """Replace the standard streams of this process by ones that can be used whatever they are connected to.

    A line is written at once, so that those of several processes do not mix.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            _occupy(descriptor)
            setattr(sys, name, Path(os.devnull).open("w" if descriptor else "r", encoding="utf-8"))  # noqa: SIM115
        elif descriptor and isinstance(stream, io.TextIOWrapper):
            if stream is getattr(sys, f"__{name}__"):
                by_line = stream.line_buffering or stream.write_through
                buffer = io.BufferedWriter(Output(descriptor))
                new = io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=by_line)
                setattr(sys, name, new)
            getattr(sys, name).reconfigure(errors="artnet.ascii")


def reader_has_gone() -> bool:
    """Whether nobody reads standard output any more: the other end of its pipe, or its terminal, is closed."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False


def _occupy(descriptor: int) -> None:
    """Keep files that are opened later from becoming a standard stream of this process and those that it starts."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, descriptor)
        if null != descriptor:
            os.close(null)
        os.set_inheritable(descriptor, True)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    failed = error.object[error.start : error.end]
    shown = (_ASCII.get(character) or character.encode("ascii", "backslashreplace").decode() for character in failed)
    return "".join(shown), error.end


codecs.register_error("artnet.ascii", _in_ascii)


def harmless(text: str) -> str:
    """Text from files of others, without the characters by which it could steer a terminal: each is a `?`."""
    return _CONTROL.sub("?", text)


def cell(value: object) -> object:
    """A value for a spreadsheet program, which would compute a text that begins like a formula, also after a CR."""
    if not isinstance(value, str):
        return value
    text = harmless(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def filled(facts: Sequence[str], width: int) -> list[str]:
    """Facts with commas between them, in lines of at most `width` characters: none is divided between two lines."""
    lines: list[str] = []
    for fact in facts:
        if lines and len(lines[-1]) + len(fact) + 3 <= width:
            lines[-1] += f" {fact},"
        else:
            lines.append(f"{fact},")
    return [*lines[:-1], *(line[:-1] for line in lines[-1:])]
