"""Holm's step-down for several p-values."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number: the smallest times n, the next times n - 1, never falling (Holm 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    n, order = len(p_values), np.argsort(p_values, kind="stable")
    raised = np.maximum.accumulate([min(1.0, (n - place) * p_values[i]) for place, i in enumerate(order)])
    adjusted = np.empty(n)
    adjusted[order] = raised
    return adjusted.tolist()
