"""Dunnett's distribution by quadrature: exact, always the same, and quick for the many models of a large sweep."""

from collections.abc import Sequence

import numpy as np
from scipy import optimize, stats

_POINTS = 201  # of a smooth integrand in each direction: errors are below 1e-6
_TAIL = 1e-12  # of each distribution that is left out


class Dunnett:
    """The largest |t| of comparisons with one baseline (Dunnett, JASA 50, 1955).

    `baseline` is the number of its runs, `others` are those of the models compared with it, and `freedom` the degrees
    of freedom of the pooled standard deviation.
    """

    def __init__(self, baseline: int, others: Sequence[int], freedom: int) -> None:
        sizes, self._counts = np.unique(np.asarray(others), return_counts=True)
        self._shared = np.sqrt(sizes / (sizes + baseline))  # the part of each t that is due to the baseline
        law = stats.chi(freedom, scale=freedom**-0.5)
        self._s = np.linspace(law.ppf(_TAIL), law.isf(_TAIL), _POINTS)
        self._z = np.linspace(stats.norm.ppf(_TAIL), stats.norm.isf(_TAIL), _POINTS)[:, None]
        self._density = stats.norm.pdf(self._z) * law.pdf(self._s)

    def p_value(self, t: float) -> float:
        """The chance that the largest |t| is at least `t` if no model differs from the baseline."""
        within = np.ones_like(self._density)
        for shared, count in zip(self._shared, self._counts, strict=True):
            own = np.sqrt(1 - shared**2)
            centre, reach = shared * self._z / own, t * self._s / own
            within *= (stats.norm.cdf(reach - centre) - stats.norm.cdf(-reach - centre)) ** count
        inner = np.trapezoid(within * self._density, self._s)
        return min(1.0, max(0.0, float(1 - np.trapezoid(inner, self._z[:, 0]))))

    def quantile(self, level: float) -> float:
        """The t that the largest |t| reaches with the chance `level`."""
        return float(optimize.brentq(lambda t: self.p_value(t) - level, 0, 1e4))
