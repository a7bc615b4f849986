"""The squared loss of a linear map: gradient for `fista`, operator for `admm`, duality gap for both."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.reports import Reading
from despur.solve._arrays import Numbers, amount, as_map, dense, freeze, reals
from despur.solve.fista import fista
from despur.solve.penalty import Norm, Penalty
from despur.solve.solution import Solution

_NAN = float("nan")


@dataclass(frozen=True, eq=False, init=False)
class LeastSquares(Penalty):
    """(1/2) |matrix x - target|^2, as a loss and, having an operator too, as a penalty.

    No intercept is added: append a column of ones and give it the weight 0, or centre both sides. Nothing is divided by n: scikit-learn's
    `Lasso(alpha)` is `strength = n alpha` here.

    Args:
        matrix: (n, d), dense or sparse (scipy).
        target: (n,), or (n, c) where x is (d, c).
        inside: A map K (m, d), dense or sparse, for `admm(..., inside=K)`: the operator is then argmin_x step value(x) + (1/2) |K x - v|^2.

    Raises:
        BadInput: something is not finite, or the operator's equations have no single solution.
        ShapeMismatch: matrix, target and x do not fit.

    Example:
        >>> loss = LeastSquares([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
        >>> loss(np.zeros(2))
        (2.5, array([-1., -4.]))
    """

    matrix: Any
    target: np.ndarray
    inside: Any = None
    _factors: dict[float, Any] = field(default_factory=dict, repr=False)

    def __init__(self, matrix: Any, target: Numbers, inside: Any = None) -> None:
        a, y = as_map(matrix, "matrix"), np.array(reals(target, "target"), dtype=np.float64)
        if y.ndim not in (1, 2) or len(y) != a.shape[0]:
            raise ShapeMismatch(f"matrix has {a.shape[0]} rows and target the shape {y.shape}; each row needs a target")
        k = None if inside is None else as_map(inside, "inside")
        if k is not None and k.shape[1] != a.shape[1]:
            raise ShapeMismatch(f"matrix is of {a.shape[1]} unknowns and inside of {k.shape[1]}; they must be the same")
        freeze(self, matrix=a, target=y, inside=k, _factors={})

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient at x, O(n d)."""
        rest = self._rest(x)
        return float(np.vdot(rest, rest)) / 2, -(self.matrix.T @ rest)

    def value(self, x: np.ndarray) -> float:
        """Half the sum of squares."""
        rest = self._rest(x)
        return float(np.vdot(rest, rest)) / 2

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Solve its d equations, O(d^3) at a new step and O(d^2) at the last one."""
        return scipy.linalg.cho_solve(
            self._factor(step), step * self._pull() + (v if self.inside is None else self.inside.T @ v)
        )

    def shape(self) -> tuple[int, ...]:
        """Shape of x."""
        return (self.matrix.shape[1], *self.target.shape[1:])

    def gap(self, x: np.ndarray, penalty: Penalty) -> Reading:
        """Bound how far value(x) + penalty(x) is above its least value: 0 proves that x is a minimiser.

        With r = target - matrix x, freed of what the penalty leaves free and shortened until the dual norm of matrix^T r is at most 1:

            gap = |target - matrix x|^2 / 2 + penalty(x) + |target - r|^2 / 2 - |target|^2 / 2 + conjugate(matrix^T r)

        O(n d), and O(n k^2) for k free directions.

        Args:
            x: Any point.
            penalty: A `Norm`, or one with a conjugate.

        Returns:
            The gap, exact but for rounding; NaN with the reason where the penalty is not convex or has no conjugate.

        Raises:
            ShapeMismatch: x does not fit.

        Example:
            >>> from despur.solve import L1
            >>> loss = LeastSquares(np.eye(2), [3.0, 0.5])
            >>> loss.gap(np.array([2.0, 0.0]), L1(1.0)).value, round(loss.gap(np.zeros(2), L1(1.0)).value, 4)
            (0.0, 2.0556)

        Source: Fenchel's duality; the shortened residual: El Ghaoui, Viallon and Rabbani 2012, Pacific J. Optimization 8(4). Differs:
            free directions.
        Limits: no bound where the penalty is not convex.
        """
        if not penalty.convex:
            return Reading(
                _NAN, f"{type(penalty).__name__} is not convex: no gap bounds the distance from its least value"
            )
        rest = self._rest(x)
        dual = rest
        if isinstance(penalty, Norm):
            free = penalty.free(x.shape)
            if len(free):
                moved = np.stack([(self.matrix @ one).ravel() for one in free], axis=1)
                dual = (rest.ravel() - moved @ np.linalg.lstsq(moved, rest.ravel())[0]).reshape(rest.shape)
            dual = dual / max(1.0, penalty.dual(self.matrix.T @ dual))
        conjugate = penalty.conjugate(self.matrix.T @ dual)
        if conjugate != conjugate:
            return Reading(_NAN, f"no conjugate of {type(penalty).__name__} is known")
        # |target - r|^2 - |target|^2 = |r|^2 - 2 <r, target>, and that less |rest|^2 in a form that keeps digits
        off = rest - dual
        moved_by = self.target - rest  # matrix x
        gap = float(np.vdot(off, off)) / 2 + penalty.value(x) - float(np.vdot(dual, moved_by)) + conjugate
        return Reading(max(gap, 0.0))

    def _rest(self, x: np.ndarray) -> np.ndarray:
        if x.shape != self.shape():
            raise ShapeMismatch(f"x has shape {x.shape}; this loss needs {self.shape()}")
        return self.target - self.matrix @ x

    def _pull(self) -> np.ndarray:
        return self.matrix.T @ self.target

    def _factor(self, step: float) -> Any:
        if step not in self._factors:
            a, k = self.matrix, self.inside
            squares = dense(a.T @ a) * amount(step, "step", above=True)
            squares = squares + (np.eye(len(squares)) if k is None else dense(k.T @ k))
            self._factors.clear()  # solvers change the step rarely
            try:
                self._factors[step] = scipy.linalg.cho_factor(squares)
            except np.linalg.LinAlgError as error:
                raise BadInput(
                    "matrix and inside leave a direction of x undetermined; add a row that fixes it"
                ) from error
        return self._factors[step]


def least_squares(
    matrix: Any, target: Numbers, penalty: Penalty, *, x0: Numbers | None = None, max_iterations: int = 10000,
    tolerance: float = 1e-8,
) -> Solution:  # fmt: skip
    """Minimise (1/2) |matrix x - target|^2 plus a penalty, by `fista`, with the duality gap as certificate.

    Args:
        matrix: (n, d), dense or sparse (scipy).
        target: (n,), or (n, c) where x is (d, c).
        penalty: What is added.
        x0: Where to begin; 0 by default.
        max_iterations: Most iterations.
        tolerance: Stop at this `error` (see `fista`).

    Returns:
        Solution with the gap, or NaN and the reason.

    Raises:
        BadInput: something is not finite, or out of bounds.
        ShapeMismatch: matrix, target, penalty and x0 do not fit.

    Example:
        >>> from despur.solve import L1
        >>> found = least_squares(np.eye(2), [3.0, 0.5], L1(1.0))
        >>> found.x, found.certificate.value < 1e-9
        (array([2., 0.]), True)
    """
    loss = LeastSquares(matrix, target)
    start = np.zeros(loss.shape()) if x0 is None else reals(x0, "x0")
    return fista(
        loss,
        penalty,
        start,
        max_iterations=max_iterations,
        tolerance=tolerance,
        certificate=lambda x: loss.gap(x, penalty),
    )
