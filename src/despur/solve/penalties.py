"""The plain penalties: l1, counting and what lies between, singular values, and the simplex as a constraint."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from despur.solve._arrays import Numbers, amount, amounts, freeze, weights_of
from despur.solve.penalty import Norm, Penalty, Weighted, coordinates, largest_ratio
from despur.solve.powers import check_power, half, lq
from despur.solve.prox import cel0, hard, nuclear, simplex, soft


class L1(Weighted, Norm):
    """strength sum_i w_i |x_i|: the lasso's; a weight of 0 leaves a coordinate free (an intercept).

    Example:
        >>> L1(2.0, weights=[1.0, 0.0]).value(np.array([-1.0, 5.0]))
        2.0
    """

    def value(self, x: np.ndarray) -> float:
        """Weighted sum of sizes."""
        return float((self.prices(x) * np.abs(x)).sum())

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Give `soft`."""
        return soft(v, step * self.prices(v))

    def dual(self, s: np.ndarray) -> float:
        """Largest size over price."""
        return largest_ratio(np.abs(s), self.prices(s))

    def free(self, shape: tuple[int, ...]) -> np.ndarray:
        """Coordinates without a price."""
        return coordinates(self.prices(np.zeros(shape)) == 0)


class L0(Weighted):
    """strength times the (weighted) number of coordinates that are not 0.

    Example:
        >>> L0(0.5).value(np.array([3.0, 0.0, -1.0]))
        1.0
    """

    convex: ClassVar[bool] = False

    def value(self, x: np.ndarray) -> float:
        """Price of what is not 0."""
        return float(self.prices(x)[x != 0].sum())

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Give `hard`."""
        return hard(v, step * self.prices(v))


@dataclass(frozen=True, eq=False, init=False)
class LQ(Weighted):
    """strength sum_i w_i |x_i|^q with q between 0 and 1.

    Args:
        strength: At least 0.
        q: Above 0 and below 1; 0.5 has a closed form.
        weights: w, one a coordinate; 1 by default.

    Raises:
        BadInput: something is negative or not finite, or q is not between 0 and 1.
        ShapeMismatch: x has another shape than the weights.

    Example:
        >>> LQ(0.5).value(np.array([4.0, 0.0, -9.0]))
        2.5
    """

    q: float = 0.5
    convex: ClassVar[bool] = False

    def __init__(self, strength: float, q: float = 0.5, weights: Numbers | None = None) -> None:
        super().__init__(strength, weights)
        freeze(self, q=check_power(q))

    def value(self, x: np.ndarray) -> float:
        """Weighted sum of powers."""
        return float((self.prices(x) * np.abs(x) ** self.q).sum())

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Give `half` or `lq`."""
        price = step * self.prices(v)
        return half(v, price) if self.q == 0.5 else lq(v, price, self.q)


@dataclass(frozen=True, eq=False, init=False)
class CEL0(Penalty):
    """The continuous penalty whose minimisers, in least squares, are those of `L0`; it has fewer local minima.

    Args:
        strength: Price of a coordinate.
        norms: Norm of each column of the loss's matrix.

    Raises:
        BadInput: something is negative or not finite.
        ShapeMismatch: x has another shape than the norms.

    Example:
        >>> CEL0(0.5, norms=[1.0, 1.0]).value(np.array([2.0, 0.5]))
        0.875
    """

    strength: float
    norms: np.ndarray
    convex: ClassVar[bool] = False

    def __init__(self, strength: float, norms: Numbers = 1.0) -> None:
        freeze(self, strength=amount(strength, "strength"), norms=weights_of(norms, "norms"))

    def value(self, x: np.ndarray) -> float:
        """Up to `strength` a coordinate."""
        a = amounts(self.norms, "norms", x)
        under = np.maximum(np.sqrt(2 * self.strength) - a * np.abs(x), 0)
        return float((self.strength - under**2 / 2).sum())

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Give `cel0`."""
        return cel0(v, self.strength, self.norms, step=step)


@dataclass(frozen=True)
class NuclearNorm(Norm):
    """strength times the sum of singular values: prefers matrices of low rank.

    Args:
        strength: At least 0.

    Raises:
        BadInput: it is negative or not finite.
        ShapeMismatch: x is no matrix.

    Example:
        >>> NuclearNorm(1.0).value(np.diag([3.0, 4.0]))
        7.0
    """

    strength: float

    def __post_init__(self) -> None:
        freeze(self, strength=amount(self.strength, "strength"))

    def value(self, x: np.ndarray) -> float:
        """Sum of singular values."""
        return self.strength * float(np.linalg.svd(x, compute_uv=False).sum())

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Give `nuclear`."""
        return nuclear(v, step * self.strength)

    def dual(self, s: np.ndarray) -> float:
        """Largest singular value over the strength."""
        return largest_ratio(np.atleast_1d(np.linalg.norm(s, 2)), np.atleast_1d(self.strength))

    def free(self, shape: tuple[int, ...]) -> np.ndarray:
        """All, where the strength is 0."""
        return coordinates(np.full(shape, self.strength == 0))


@dataclass(frozen=True)
class Simplex(Penalty):
    """Nothing on points without negative coordinates whose sum along the last axis is `radius`, Inf elsewhere.

    Args:
        radius: Above 0.

    Raises:
        BadInput: it is not.

    Example:
        >>> Simplex().value(np.array([0.5, 0.5])), Simplex().value(np.array([0.5, 0.6]))
        (0.0, inf)
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        freeze(self, radius=amount(self.radius, "radius", above=True))

    def value(self, x: np.ndarray) -> float:
        """Give 0 inside, but for rounding."""
        near = 1e-9 * self.radius
        inside = x.min(initial=0) >= -near and bool((np.abs(x.sum(-1) - self.radius) <= near * x.shape[-1]).all())
        return 0.0 if inside else float("inf")

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Give `simplex`, whatever the step."""
        return simplex(v, self.radius)

    def conjugate(self, s: np.ndarray) -> float:
        """Largest coordinate of each row, times the radius."""
        return self.radius * float(s.max(-1).sum())
