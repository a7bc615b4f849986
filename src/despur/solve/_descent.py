"""One proximal gradient step with backtracking, which every first-order solver here takes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.reports import Reading
from despur.solve._arrays import Numbers, amount, reals
from despur.solve.penalty import Penalty
from despur.solve.solution import NO_CERTIFICATE, Solution

Smooth = Callable[[np.ndarray], tuple[float, np.ndarray]]  # x -> value, gradient
Certify = Callable[[np.ndarray], Reading]

_SHRINK, _TRIES = 0.5, 100


@dataclass(frozen=True, slots=True)
class Point:
    """A point with the smooth part's value and gradient there."""

    x: np.ndarray
    loss: float
    gradient: np.ndarray


class Descent:
    """The smooth part and the penalty of one problem, the step that is in use, and the largest size of x so far.

    Args:
        smooth: x -> value and gradient.
        penalty: What is added.
        x0: Where to begin.
        step: The first step; a guess from two gradients where it is None.
    """

    def __init__(self, smooth: Smooth, penalty: Penalty, x0: Numbers, step: float | None) -> None:
        x = np.array(reals(x0, "x0"), dtype=np.float64)
        self.smooth, self.penalty = smooth, penalty
        self.scale = float(np.linalg.norm(x))
        self.start = self.at(x)
        if self.start.gradient.shape != x.shape:
            raise ShapeMismatch(
                f"the gradient has shape {self.start.gradient.shape} and x0 {x.shape}; they must be equal"
            )
        if not np.isfinite(self.start.loss) or not np.isfinite(self.start.gradient).all():
            raise BadInput("the loss or its gradient at x0 is NaN or Inf; begin where both are finite")
        self.step = self._guess(None if step is None else amount(step, "step", above=True))

    def at(self, x: np.ndarray) -> Point:
        """Ask the smooth part."""
        loss, gradient = self.smooth(x)
        return Point(x, float(loss), np.asarray(gradient, dtype=np.float64))

    def value(self, point: Point) -> float:
        """Loss and penalty."""
        return point.loss + self.penalty.value(point.x)

    def advance(self, y: Point) -> Point:
        """Step from y, halving the step until the parabola through y lies above the loss."""
        first = 0.0
        for tries in range(_TRIES):
            z = self.at(self.penalty.prox(y.x - self.step * y.gradient, self.step))
            far = float(np.linalg.norm(z.x - y.x))
            first = first if tries else far
            if far == 0 and first > 1e-12 * self.scale:
                break  # halved until rounding swallows it
            if self._below_parabola(y, z):
                self.scale = max(self.scale, float(np.linalg.norm(z.x)))
                return z
            self.step *= _SHRINK
        raise BadInput("no step lowers the loss; is its gradient right, and is it smooth?")

    def error(self, y: Point, z: Point) -> float:
        """Distance of 0 from the subgradients at z = prox(y - step gradient), as a length of x, over the largest x so far."""
        off = float(np.linalg.norm(y.x - z.x + self.step * (z.gradient - y.gradient)))
        return 0.0 if off == 0 else off / self.scale if self.scale > 0 else float("inf")

    def solution(self, point: Point, iterations: int, error: float, certificate: Certify | None) -> Solution:
        """Wrap up."""
        proof = certificate(point.x) if certificate else NO_CERTIFICATE
        return Solution(point.x, self.value(point), iterations, error, proof)

    def _below_parabola(self, y: Point, z: Point) -> bool:
        if not np.isfinite(z.loss) or not np.isfinite(z.gradient).all():
            return False
        move = z.x - y.x
        square = float(np.vdot(move, move)) / self.step
        if abs(z.loss - y.loss) > 1e-6 * max(abs(z.loss), abs(y.loss)):
            return z.loss <= y.loss + float(np.vdot(y.gradient, move)) + square / 2
        return float(np.vdot(z.gradient - y.gradient, move)) <= square * (
            1 + 1e-12
        )  # values lose digits, gradients do not

    def _guess(self, asked: float | None) -> float:
        """Give one over the curvature along the gradient; a step that is asked, where it is no tiny one: `error` is measured in steps."""
        start = self.start
        size = float(np.linalg.norm(start.gradient))
        if size == 0:
            return asked or 1.0
        move = start.gradient * (1e-3 * max(self.scale, 1.0) / size)
        end = self.at(start.x - move)
        slopes = float(np.vdot(start.gradient, move)), float(np.vdot(end.gradient, move))
        if end.loss - start.loss > 1e-9 * abs(start.loss) and min(slopes) > 0:
            raise BadInput("the loss rises where its gradient says that it falls; is the gradient right?")
        bend = float(np.linalg.norm(end.gradient - start.gradient))
        guess = float(np.linalg.norm(move)) / bend if np.isfinite(bend) and bend > 0 else 1.0
        return guess if asked is None else max(asked, guess / 10)


def check_stop(max_iterations: Any, tolerance: Any) -> None:
    """Refuse a number of iterations or a tolerance that makes no sense.

    Raises:
        BadInput: it does not.
    """
    if amount(max_iterations, "max_iterations", low=1.0) % 1:
        raise BadInput(f"max_iterations is {max_iterations}; it must be a whole number")
    amount(tolerance, "tolerance")
