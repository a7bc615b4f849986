"""Proximal nonlinear conjugate gradients."""

import math

import numpy as np

from despur.solve._arrays import Numbers
from despur.solve._descent import Certify, Descent, Point, Smooth, check_stop
from despur.solve.penalty import Penalty
from despur.solve.solution import Solution

_TRIES, _LEAST = 6, 1e-4  # halvings of a step along a conjugate direction; share of the expected descent that must come


def prox_ncg(
    smooth: Smooth, penalty: Penalty, x0: Numbers, *, step: float | None = None, max_iterations: int = 2000,
    tolerance: float = 1e-8, certificate: Certify | None = None,
) -> Solution:  # fmt: skip
    """Minimise a smooth loss plus a penalty along conjugate directions, each step put through the penalty's operator.

    For ill-conditioned losses, where `fista` needs many iterations: once the coordinates that are 0 stay so, these are conjugate
    gradients among the others, and without a penalty and with a quadratic loss they are the linear ones. With R = (x - prox(x - step g,
    step)) / step:

        d = -g + b p,   b = max(0, <R, R - R_before> / |R_before|^2),   p = (x - x_before) / a_before
        x' = prox(x + a d, a),   a = -<R, D> / <D, H D>,   D the way that x takes at `step`, H D from the gradients at its ends

    A direction that is not downhill, or along which six halvings bring no descent, is given up for a proximal gradient step with
    backtracking. Two calls of `smooth` an iteration; the value never rises.

    Args:
        smooth: x -> value and gradient of the loss, both at once.
        penalty: What is added to it.
        x0: Where to begin, of any shape.
        step: The first step of the proximal gradient, raised to a tenth of a guess from two gradients; by default that guess.
        max_iterations: Most iterations.
        tolerance: Stop at this `error`.
        certificate: x -> upper bound of the value less the least one, such as `LeastSquares.gap`.

    Returns:
        Solution; `error` is |x - prox(x - step g, step)| over the largest |x| so far.

    Raises:
        BadInput: x0, or the loss there, is not finite; no step lowers the loss; an option is out of bounds.
        ShapeMismatch: gradient and x0 have different shapes.

    Example:
        >>> from despur.solve import L1, LeastSquares
        >>> loss = LeastSquares([[1.0, 0.0], [0.0, 100.0]], [3.0, 50.0])
        >>> prox_ncg(loss, L1(1.0), np.zeros(2)).x.round(4)
        array([2.    , 0.4999])

    Source: the residual in the place of the gradient, and the step to fall back on: Hamana and Narushima 2026, arXiv:2604.11150. Differs:
    they go straight along a three-term Hestenes-Stiefel direction of R; here b is Polak and Ribière's, and each step ends in the
    operator, so that zeros are exact. Limits: where the penalty is not convex, a stationary point.
    """
    check_stop(max_iterations, tolerance)
    run = Descent(smooth, penalty, x0, step)
    x, value = run.start, run.value(run.start)
    before, size_before, way = x.gradient, 0.0, np.zeros_like(x.x)
    error, done = math.inf, 0
    for done in range(1, max_iterations + 1):
        residual = (x.x - penalty.prox(x.x - run.step * x.gradient, run.step)) / run.step
        size = float(np.vdot(residual, residual))
        off = run.step * math.sqrt(size)
        error = 0.0 if off == 0 else off / run.scale if run.scale > 0 else math.inf
        if error <= tolerance:
            return run.solution(x, done - 1, error, certificate)
        turn = max(0.0, float(np.vdot(residual, residual - before)) / size_before) if size_before > 0 else 0.0
        new, length = _along(run, x, value, residual, -x.gradient + turn * way)
        if new is None:
            new, length = run.advance(x), run.step
            size = 0.0  # the next direction begins again
        way, x, value = (new.x - x.x) / length, new, run.value(new)
        before, size_before = residual, size
        run.scale = max(run.scale, float(np.linalg.norm(x.x)))
    return run.solution(x, done, error, certificate)


def _along(
    run: Descent, x: Point, value: float, residual: np.ndarray, direction: np.ndarray
) -> tuple[Point | None, float]:
    """The point down the arc prox(x + a direction, a), and a; None where there is none."""
    probe = run.at(run.penalty.prox(x.x + run.step * direction, run.step))
    move = (probe.x - x.x) / run.step
    slope = float(np.vdot(residual, move))
    bend = float(np.vdot(move, probe.gradient - x.gradient)) / run.step
    if not slope < 0 or not np.isfinite(bend):
        return None, 0.0
    length = min(max(-slope / bend, 1e-3 * run.step), 1e6 * run.step) if bend > 0 else 10 * run.step
    for _ in range(_TRIES):
        z = run.at(run.penalty.prox(x.x + length * direction, length))
        fall = _LEAST * float(np.vdot(z.x - x.x, z.x - x.x)) / length
        if np.isfinite(z.loss) and run.value(z) <= value - fall + 1e-14 * abs(value):
            return z, length
        length /= 2
    return None, 0.0
