"""Numbers as the page's data have them: four significant digits, shares in per cent, null where there is none."""

import math

DIGITS = 4


def rounded(number: float | None) -> float | int | None:
    """A number with four significant digits, whole where it is; None for one that is not finite."""
    if number is None or not math.isfinite(number):
        return None
    short = float(f"{number:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def percent(share: float | None) -> float | int | None:
    """A share in per cent."""
    return None if share is None else rounded(100 * share)
