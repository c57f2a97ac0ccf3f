"""The distributions of a search: of which values of a key it draws, and with which probability."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["uniform", "loguniform", "quantized", "randint", "choice"]

DIGITS = 4  # significant ones of a drawn number: enough for a search, and readable


@dataclass(frozen=True)
class Distribution:
    """The distribution of a key's values in a search.

    `values` are the bounds `(low, high)` of `uniform`, `loguniform` and `randint` (whole numbers, both ends included),
    `(low, high, step)` of `quantized`, and the values of a `choice`.
    """

    key: str
    kind: Kind
    values: tuple[Any, ...]

    def draw(self, rng: np.random.Generator) -> Any:
        """Draw one value."""
        return self.at(int(rng.integers(len(self.values)))) if self.kind == "choice" else self.at(rng.random())

    def at(self, share: float) -> Any:
        """The value at a share of the distribution, between 0 and 1; of a choice, the value of this index."""
        if self.kind == "choice":
            return self.values[int(share)]
        low, high = self.values[:2]
        if self.kind == "loguniform":
            return self.rounded(math.exp(math.log(low) + (math.log(high) - math.log(low)) * share))
        if self.kind in ("randint", "quantized"):
            step = self.values[2] if self.kind == "quantized" else 1
            steps = math.floor((high - low) / step + 1e-9) + 1
            return self.rounded(low + step * min(math.floor(share * steps), steps - 1))
        return self.rounded(low + (high - low) * share)

    def share(self, value: float) -> float:
        """The share of the distribution at which a number lies: the inverse of `at`."""
        low, high = self.values[:2]
        if self.kind == "loguniform":
            return float(math.log(value / low) / math.log(high / low))
        if self.kind in ("randint", "quantized"):
            step = self.values[2] if self.kind == "quantized" else 1
            return float((value - low) / step + 0.5) / (self.size or 1)
        return float((value - low) / (high - low))

    def rounded(self, value: float) -> Any:
        """The value nearest to a number that a search may try: within the bounds, and with few digits."""
        low, high = self.values[:2]
        if isinstance(low, int):
            return min(max(round(value), low), high)
        if self.kind in ("randint", "quantized"):
            step = self.values[2] if self.kind == "quantized" else 1.0
            return min(max(float(f"{low + round((value - low) / step) * step:.12g}"), low), high)
        # Rounding in log and exp can leave the bounds.
        return min(max(float(f"{value:.{DIGITS}g}"), low), high)

    @property
    def size(self) -> int | None:
        """How many values there are to draw; None for a continuum."""
        if self.kind == "choice":
            return len(self.values)
        low, high = self.values[:2]
        if self.kind == "quantized":
            return int((high - low) / self.values[2] + 1e-9) + 1
        return int(high - low) + 1 if self.kind == "randint" or isinstance(low, int) else None

    def contains(self, value: Any) -> bool:
        """Whether a search may try a value."""
        if self.kind == "choice":
            return value in self.values
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self.values[:2]
        return bool(low <= value <= high) and (self.kind in ("uniform", "loguniform") or self.rounded(value) == value)
