"""Numbers as people write them: what Python or YAML 1.1 read as a number by accident is refused."""

import argparse
import math
import re

WHOLE, REAL = "a whole number is wanted", "a number is wanted"

_OCTAL = re.compile(r"\s*[+-]?0[0-7]+\s*")


def is_plain(text: str) -> bool:
    """Whether a number can be read in one way only: not `1_0`, `1:30` (90 in YAML 1.1) or `010` (8), but `07`."""
    return not ("_" in text or ":" in text or (_OCTAL.fullmatch(text) and len(text.strip().lstrip("+-0")) > 1))


def whole(text: str) -> int:
    """The `type` of an option that is a whole number. Raises `argparse.ArgumentTypeError`."""
    try:
        if is_plain(text):
            return int(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{WHOLE}, not {text}")


def real(text: str) -> float:
    """The `type` of an option that is a finite number. Raises `argparse.ArgumentTypeError`."""
    try:
        if is_plain(text) and math.isfinite(number := float(text)):
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{REAL}, not {text}")
