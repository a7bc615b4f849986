"""Removed or hidden: how hard a guarded model must be pushed until the drift returns."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from despur.core.errors import BadInput
from despur.core.reports import Reading

Push = Callable[[float], float]  # push -> drift margin with it
RTOL: Any = 1e-12  # scipy requires one; the absolute tolerance decides


def smallest_push(drift: Push, target: float, *, most: float, scans: int = 8, tolerance: float = 0.01) -> Reading:
    """Find the smallest push at which the drift reaches a target: scan upwards, then bisect.

    Args:
        drift: Push -> mean drift, for instance of a model steered by push times a unit shift at one layer.
        target: To be reached.
        most: Largest push tried.
        scans: Doublings up to it; a drift that rises and falls again between two of them is missed.
        tolerance: Of the push, as a share of it.

    Returns:
        The push, 0 where the drift is there without any; NaN with the reason where `most` is not enough.

    Raises:
        BadInput: `most` is not a positive number.

    Example:
        >>> round(smallest_push(lambda push: push**2, 4.0, most=16.0).value, 1)
        2.0
    """
    if not most > 0:
        raise BadInput(f"the largest push is {most}; it must be a positive number")
    if drift(0.0) >= target:
        return Reading(0.0)
    low, best = 0.0, -np.inf
    for high in (most / 2**i for i in reversed(range(scans + 1))):
        reached = drift(high)
        best = max(best, reached)
        if reached >= target:
            push: Any = optimize.bisect(lambda push: drift(push) - target, low, high, xtol=tolerance * high, rtol=RTOL)
            return Reading(float(push))
        low = high
    return Reading(math.nan, f"a push of {most:g} brings the drift to {best:.3g}, short of {target:.3g}")


@dataclass(frozen=True, slots=True)
class Recovery:
    """How hard a guarded model must be pushed, against its base.

    Args:
        push: Smallest for the guarded model.
        base_push: Smallest for the base.
        ratio: Of the two: 1 means as hard to push as the base, below 1 that the drift is closer.
        target: Drift that was to be reached.
    """

    push: Reading
    base_push: Reading
    ratio: float
    target: float


def recovery(
    guarded: Push, base: Push, *, base_drift: float, naive_drift: float, share: float = 0.5, most: float
) -> Recovery:
    """Ask whether a guard removed the drift or hid it: the push that brings back a share of the naive run's.

        target = base + share (naive - base);  ratio = push(guarded) / push(base)

    Args:
        guarded: Push -> drift of the guarded model, in the readout's own unit.
        base: The same for the base, along the same direction.
        base_drift: Of the base without a push.
        naive_drift: Of the naive run without a push.
        share: Of the naive run's drift that counts as back.
        most: Largest push tried.

    Raises:
        BadInput: the naive run drifts no more than the base, or `most` is not positive.

    Example:
        >>> recovery(lambda s: s, lambda s: 0.5 * s, base_drift=0.0, naive_drift=2.0, most=8.0).ratio
        0.5

    Source: the reference is the base's own push (post-intervention recovery, arXiv:2606.18322, there with a free perturbation).
    Limits: one direction at one layer; where neither can be pushed so far, the ratio is NaN and nothing is known.
    """
    if not naive_drift > base_drift:
        raise BadInput(
            f"the naive run drifts to {naive_drift:.3g}, the base to {base_drift:.3g}: there is nothing to bring back"
        )
    target = base_drift + share * (naive_drift - base_drift)
    push, base_push = (smallest_push(drift, target, most=most) for drift in (guarded, base))
    ratio = push.value / base_push.value if base_push.value > 0 else math.nan
    return Recovery(push, base_push, ratio, target)
