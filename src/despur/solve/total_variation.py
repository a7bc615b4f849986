"""1-D total variation: its operator, exactly, and the penalty of the fused lasso."""

import itertools
from collections import deque
from dataclasses import dataclass

import numpy as np

from despur.core.errors import ShapeMismatch
from despur.solve._arrays import Numbers, amount, amounts, freeze, reals, weights_of
from despur.solve.penalty import Norm, coordinates, largest_ratio


def fused(v: Numbers, strength: float, weights: Numbers | None = None, *, axis: int = -1) -> np.ndarray:
    """Draw neighbours together until they are equal: the operator of the sum of |x_(i+1) - x_i|, exactly.

        x = argmin (1/2) |x - v|^2 + strength sum_i w_i |x_(i+1) - x_i|

    One pass forward carries the derivative of the least cost of all that lies before, as a function of x_i: straight lines between knots,
    at most two new ones a step; one pass back reads x off. O(d), some 2 microseconds a value.

    Args:
        v: (..., d, ...); each line along `axis` for itself.
        strength: At least 0.
        weights: w, (d - 1,), one a pair of neighbours; 0 parts them.
        axis: The one along which neighbours lie.

    Returns:
        As v; the mean is that of v.

    Raises:
        BadInput: v is not finite, or a strength or weight is negative.
        ShapeMismatch: no such axis, or not d - 1 weights.

    Example:
        >>> fused([0.0, 0.0, 3.0, 3.0], 1.0)
        array([0.5, 0.5, 2.5, 2.5])

    Source: Johnson 2013, J. Computational and Graphical Statistics 22(2); the problem's other exact way, the taut string, is in Condat
    2013, IEEE Signal Processing Letters 20(11). Differs: a weight for each pair. Limits: neighbours on a line only, not on a graph.
    """
    x = reals(v, "v")
    if not -x.ndim <= axis < x.ndim:
        raise ShapeMismatch(f"v has shape {x.shape} and no axis {axis}")
    bounds = amount(strength, "strength") * _pairs(weights, x.shape[axis])
    lines = np.moveaxis(x, axis, -1)
    if x.shape[axis] < 2 or x.size == 0 or not bounds.any():
        return x.copy()
    rows = [_line(line.tolist(), bounds.tolist()) for line in lines.reshape(-1, lines.shape[-1])]
    return np.moveaxis(np.array(rows, dtype=x.dtype).reshape(lines.shape), -1, axis)


@dataclass(frozen=True, eq=False, init=False)
class TotalVariation(Norm):
    """strength sum_i w_i |x_(i+1) - x_i|, along one axis: the fused lasso's.

    Args:
        strength: At least 0.
        weights: w, one a pair of neighbours; 1 by default.
        axis: The one along which neighbours lie.

    Raises:
        BadInput: something is negative or not finite.
        ShapeMismatch: not one weight a pair.

    Example:
        >>> TotalVariation(1.0).value(np.array([0.0, 2.0, 2.0, 1.0]))
        3.0
    """

    strength: float
    weights: np.ndarray | None = None
    axis: int = -1

    def __init__(self, strength: float, weights: Numbers | None = None, axis: int = -1) -> None:
        freeze(self, strength=amount(strength, "strength"), weights=weights_of(weights), axis=axis)

    def value(self, x: np.ndarray) -> float:
        """Weighted sum of the steps' sizes."""
        prices = self._prices(x.shape)
        return float((np.abs(np.diff(np.moveaxis(x, self.axis, -1))) * prices).sum())

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Give `fused`."""
        return fused(v, step * self.strength, self.weights, axis=self.axis)

    def dual(self, s: np.ndarray) -> float:
        """Largest sum of all up to a pair, over its price."""
        prices = self._prices(s.shape)
        sums = np.abs(np.cumsum(np.moveaxis(s, self.axis, -1), -1)[..., :-1])
        return largest_ratio(sums, np.broadcast_to(prices, sums.shape))

    def free(self, shape: tuple[int, ...]) -> np.ndarray:
        """Each line's level; where a pair has no price, that of each part."""
        part = np.concatenate([[0], np.cumsum(self._prices(shape) == 0)])
        rest = np.moveaxis(np.zeros(shape), self.axis, -1).shape[:-1]
        levels = (part == np.arange(part[-1] + 1)[:, None]).astype(float)  # (parts, d)
        lines = coordinates(np.ones(rest, dtype=bool))  # (lines, *rest)
        basis = np.einsum("l...,pd->lp...d", lines, levels)
        return np.moveaxis(basis.reshape(-1, *rest, len(part)), -1, 1 + self.axis % len(shape))

    def _prices(self, shape: tuple[int, ...]) -> np.ndarray:
        if not -len(shape) <= self.axis < len(shape):
            raise ShapeMismatch(f"x has shape {shape} and no axis {self.axis}")
        return self.strength * _pairs(self.weights, shape[self.axis])


def _pairs(weights: Numbers | None, size: int) -> np.ndarray:
    """One weight a pair of neighbours, by default 1."""
    pairs = max(size - 1, 0)
    if weights is None:
        return np.ones(pairs)
    w = reals(weights, "weights")
    if w.shape != (pairs,):
        raise ShapeMismatch(f"weights has shape {w.shape}; {size} neighbours in a line have {pairs} pairs")
    return amounts(w, "weights", w).astype(np.float64)


def _line(y: list[float], bounds: list[float]) -> list[float]:
    """Fit one line; bounds[i] is the price of x[i] != x[i + 1].

    Between two knots the derivative is slope * x + level; `knots` holds what each adds to both. Left of all knots it is
    (slope, level) = (first), right of them (last). Clipping it to +-bound replaces all knots outside by one at each end.
    """
    middle = sum(y) / len(y)  # near 0 the sums in `level` lose fewest digits
    y = [value - middle for value in y]
    knots: deque[tuple[float, float, float]] = deque()
    first = last = (1.0, -y[0])
    lows: list[float] = []
    highs: list[float] = []
    for value, bound in zip(itertools.islice(y, 1, None), bounds, strict=True):
        slope, level = first
        while knots and slope * knots[0][0] + level < -bound:
            _, more, up = knots.popleft()
            slope, level = slope + more, level + up
        low = (-bound - level) / slope
        right, top = last
        while knots and right * knots[-1][0] + top > bound:
            _, more, up = knots.pop()
            right, top = right - more, top - up
        high = max((bound - top) / right, low)
        knots.appendleft((low, slope, level + bound))
        knots.append((high, -right, bound - top))
        lows.append(low)
        highs.append(high)
        first, last = (1.0, -bound - value), (1.0, bound - value)
    slope, level = first
    while knots and slope * knots[0][0] + level < 0:
        _, more, up = knots.popleft()
        slope, level = slope + more, level + up
    x = [-level / slope]
    for low, high in zip(reversed(lows), reversed(highs), strict=True):
        x.append(min(max(x[-1], low), high))
    return [value + middle for value in reversed(x)]
