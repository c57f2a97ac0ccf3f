"""The grid's `on_end`: a command that is run when the runs have ended."""

import os
import shlex
from typing import Any

from artnet.config.document import Document
from artnet.config.paths import beside, expanded


def on_end(document: Document) -> tuple[str, ...]:
    """The program and its arguments, given as a text, split as a shell would, or as a list; empty if there is none.

    No shell runs it: only the path of the program is expanded. Raises `UserError` with file and line.
    """
    given = document.values.get("on_end")
    if given is None:
        return ()
    try:
        words: Any = shlex.split(given) if isinstance(given, str) else given
    except ValueError as error:
        raise document.error(("on_end",), f"on_end cannot be split into words ({error}); write it as a list") from None
    is_command = isinstance(words, list) and words and all(isinstance(word, str) for word in words)
    if not is_command or not words[0] or any("\0" in word for word in words):
        written = document.written.get(("on_end",), repr(given))
        message = 'on_end must be a command, such as `notify-send "sweep ended"`, or a list of texts'
        raise document.error(("on_end",), f"{message}, not {written}")
    program = words[0]
    if os.sep in program:
        try:
            program = os.path.abspath(str(expanded(beside(program, document.file.parent))))  # noqa: PTH100
        except ValueError as error:
            raise document.error(("on_end",), f"on_end: {error}") from None
    return (program, *words[1:])
