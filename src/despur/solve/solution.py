"""What every function of `solve` returns."""

from dataclasses import dataclass

import numpy as np

from despur.core.reports import Reading

NO_CERTIFICATE = Reading(float("nan"), "no lower bound of this problem is known; compare with another start")


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A minimiser, and how far from optimal it may be.

    Nothing is raised where the iterations ran out: `error` is then above the tolerance that was asked.

    Args:
        x: The point.
        value: What was minimised, at x.
        iterations: Steps done.
        error: Distance from stationarity at x, in the unit of x and relative to its size: 0 is exact. Each function says how it is
            measured.
        certificate: Upper bound of `value` less the least value (a duality gap); NaN with the reason where none is known.

    Example:
        >>> Solution(np.zeros(2), value=1.5, iterations=0, error=0.0).certificate.value
        nan
    """

    x: np.ndarray
    value: float
    iterations: int
    error: float
    certificate: Reading = NO_CERTIFICATE
