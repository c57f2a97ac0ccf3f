"""What pydantic says of a wrong value, in one sentence of plain English."""

import reprlib
from collections.abc import Mapping

from pydantic import ValidationError

from shards.numbers import REAL, WHOLE

# The types of pydantic's errors that need other words than pydantic's.
_WANTED = {
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), REAL),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false is wanted"),
    "string_type": "text is wanted",
}


def sentence(error: ValidationError, key: str, written: str | None = None) -> str:
    """The first complaint, which begins with the `key`.

    `written` is how the file spells the value; by default it is shown as YAML writes it.
    """
    first = error.errors(include_url=False)[0]
    if first["type"] == "missing":
        return f"{key} is missing; give it a value"
    message = first["msg"].removeprefix("Value error, ")
    message = _WANTED.get(first["type"], message[:1].lower() + message[1:])
    shown = first["input"]
    if not key:
        return message
    if isinstance(shown, Mapping):  # a section as a whole is too long to show
        return f"{key}: {message}" + ("" if first["type"] == "value_error" else f", not {reprlib.repr(shown)}")
    remedy = "; quote it" if first["type"] == "string_type" and not isinstance(shown, list | None) else ""
    return f"{key}: {message}, not {written or _shown(shown)}{remedy}"


def key_of(error: ValidationError) -> str:
    """The dotted path that the first complaint is about; empty if it is about several keys together."""
    # Locations inside a list or a union carry indices and type names: keep what is a key.
    return ".".join(str(part) for part in error.errors(include_url=False)[0]["loc"] if isinstance(part, str))


def _shown(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
