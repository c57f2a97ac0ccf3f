"""Lists of values in short: `{range: [0, 5]}` is 0 to 4, as Python counts, and `{linspace: [0, 1, 5]}` quarters."""

import math
from typing import Any

import numpy as np

from artnet.config.document import Document, Position
from shards.numbers import is_plain

KINDS = ("range", "linspace")


def listed(document: Document, position: Position, given: Any, most: int) -> Any:
    """The values of a range, up to one more than `most`; what is no range, as it is. Raises `UserError`."""
    if not isinstance(given, dict) or len(given) != 1 or next(iter(given)) not in KINDS:
        return given
    [(kind, bounds)] = given.items()
    at = (*position, kind)
    numbers = [_number(bound) for bound in bounds] if isinstance(bounds, list) else [_number(bounds)]
    if kind == "linspace":
        return _linspace(document, at, numbers, most)
    if None in numbers or not 1 <= len(numbers) <= 3 or any(number % 1 for number in numbers if number is not None):
        raise document.error(at, "range needs whole numbers: [FIRST, END] without END, [FIRST, END, STEP] or END")
    whole = [int(number) for number in numbers if number is not None]
    if len(whole) == 3 and whole[2] == 0:
        raise document.error(at, "a range with a step of 0 does not end; give another step")
    if not range(*whole):
        raise document.error(at, f"the range {whole} is empty, as its end does not count; give a later end")
    return list(range(*whole)[: most + 1])


def _linspace(document: Document, position: Position, numbers: list[float | None], most: int) -> list[float]:
    if len(numbers) != 3 or None in numbers:
        raise document.error(position, "linspace needs [FIRST, LAST, COUNT], such as [0.1, 0.5, 5]")
    first, last, count = (float(number) for number in numbers if number is not None)
    if count % 1 or count < 2:
        raise document.error(position, f"linspace needs a whole COUNT of at least 2, not {count:g}")
    # 12 digits: 0.3, and not 0.30000000000000004, which would be another run.
    return [float(f"{value:.12g}") for value in np.linspace(first, last, min(int(count), most + 1))]


def _number(given: Any) -> float | None:
    if isinstance(given, str) and is_plain(given):  # YAML 1.1 reads 1e-3 as text
        try:
            given = float(given)
        except ValueError:
            return None
    is_number = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    return given if is_number else None
