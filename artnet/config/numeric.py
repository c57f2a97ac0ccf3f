"""Numbers as people write them: what YAML 1.1 and Python read as a number by accident is refused."""

import math
import re
from functools import partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BeforeValidator

WHOLE, REAL = "a whole number is wanted", "a number is wanted"

_OCTAL = re.compile(r"\s*[+-]?0[0-7]+\s*")


def is_plain(text: str) -> bool:
    """Whether a number can be read in one way only: not `1_0`, `1:30` (90 in YAML 1.1) or `010` (8), but `07`."""
    return not ("_" in text or ":" in text or (_OCTAL.fullmatch(text) and len(text.strip().lstrip("+-0")) > 1))


def checked(value: object, wanted: str) -> object:
    """Return `value` for a field that holds a number. Raises `ValueError` for what is a number only by accident.

    These are booleans, infinity, text that is not plain; what is no number at all is left to the field.
    """
    is_accident = isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value))
    if isinstance(value, str):
        is_accident = not is_plain(value) or value.strip().lower().lstrip("+-") in ("nan", "inf", "infinity")
    if is_accident:
        raise ValueError(wanted)
    return value


def kinds_of(annotation: Any) -> set[Any]:
    """The types that a field may have, without what is annotated to them."""
    if get_origin(annotation) is Annotated:
        return kinds_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return {kind for part in get_args(annotation) for kind in kinds_of(part)}
    return {annotation}


def wanted(annotation: Any) -> str | None:
    """What a field of this type wants, `WHOLE` or `REAL`; None if it is not a number."""
    kinds = kinds_of(annotation)
    if bool in kinds or not kinds & {int, float}:
        return None
    return REAL if float in kinds else WHOLE


def _none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


Int = Annotated[int, BeforeValidator(partial(checked, wanted=WHOLE))]
Float = Annotated[float, BeforeValidator(partial(checked, wanted=REAL))]
OptionalInt = Annotated[Int | None, BeforeValidator(_none)]
