"""What a penalty is to a solver: its value, its proximal operator and, for a certificate, its conjugate."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from despur.solve._arrays import Numbers, amount, amounts, freeze, weights_of


class Penalty(ABC):
    """A function of x with a proximal operator; a frozen dataclass of its settings, so that it can be copied, pickled and printed.

    Attributes:
        convex: Whether it is; where it is not, solvers never accept a step that raises the value.

    Example:
        >>> from despur.solve import L1
        >>> L1(0.5).prox(np.array([2.0, -0.2]), 1.0)
        array([1.5, 0. ])
    """

    convex: ClassVar[bool] = True

    @abstractmethod
    def value(self, x: np.ndarray) -> float:
        """The penalty at x; Inf outside its domain."""

    @abstractmethod
    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Give argmin_x step value(x) + (1/2) |x - v|^2."""

    def conjugate(self, s: np.ndarray) -> float:
        """Give sup_x <s, x> - value(x); NaN where no formula is known."""
        return float("nan")


class Norm(Penalty, ABC):
    """A penalty with value(c x) = |c| value(x) and the triangle inequality; directions may be free.

    Its conjugate is 0 where the dual norm is at most 1, and Inf elsewhere.

    Example:
        >>> from despur.solve import L1
        >>> L1(0.5).dual(np.array([2.0, -0.2]))
        4.0
    """

    @abstractmethod
    def dual(self, s: np.ndarray) -> float:
        """Give sup_x <s, x> / value(x) for s at right angles to all that is free."""

    def free(self, shape: tuple[int, ...]) -> np.ndarray:
        """Give a basis (k, *shape) of the directions that cost nothing."""
        return np.zeros((0, *shape))

    def conjugate(self, s: np.ndarray) -> float:
        """Give 0 where the dual norm is at most 1, but for rounding; Inf elsewhere."""
        return 0.0 if self.dual(s) <= 1 + 1e-9 else float("inf")


@dataclass(frozen=True, eq=False, init=False)
class Weighted(Penalty, ABC):
    """A penalty on single coordinates, each with its price: strength times its weight.

    Args:
        strength: At least 0.
        weights: One a coordinate; 1 by default.

    Raises:
        BadInput: something is negative or not finite.
        ShapeMismatch: x has another shape than the weights.

    Example:
        >>> from despur.solve import L0
        >>> L0(0.5, weights=[1.0, 3.0]).prices(np.zeros(2))
        array([0.5, 1.5])
    """

    strength: float
    weights: np.ndarray | None = None

    def __init__(self, strength: float, weights: Numbers | None = None) -> None:
        freeze(self, strength=amount(strength, "strength"), weights=weights_of(weights))

    def prices(self, like: np.ndarray) -> np.ndarray:
        """Give the price of each coordinate of an array like this."""
        w = amounts(1.0 if self.weights is None else self.weights, "weights", like)
        return np.broadcast_to(self.strength * w, like.shape)


def coordinates(chosen: np.ndarray) -> np.ndarray:
    """Unit vectors of the chosen coordinates, (k, *shape)."""
    at = np.flatnonzero(chosen)
    out = np.zeros((len(at), chosen.size))
    out[np.arange(len(at)), at] = 1
    return out.reshape(-1, *chosen.shape)


def largest_ratio(size: np.ndarray, price: np.ndarray) -> float:
    """Largest size / price where there is a price; 0 where nothing has one."""
    priced = price > 0
    return float((size[priced] / price[priced]).max(initial=0))
