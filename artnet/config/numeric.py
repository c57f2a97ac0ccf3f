"""The numbers of a configuration: what YAML 1.1 and Python read as a number by accident is refused."""

import math
from functools import partial
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BeforeValidator

from shards.numbers import REAL, WHOLE, is_plain


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
