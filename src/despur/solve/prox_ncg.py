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
        step: The first step of the proximal gradient; by default a guess from two gradients.
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
    x, before, size_before, way = run.start, None, 0.0, None
    error, done = math.inf, 0
    for done in range(1, max_iterations + 1):
        plain = penalty.prox(x.x - run.step * x.gradient, run.step)
        residual = (x.x - plain) / run.step
        size = float(np.vdot(residual, residual))
        off = run.step * math.sqrt(size)
        error = 0.0 if off == 0 else off / run.scale if run.scale > 0 else math.inf
        if error <= tolerance:
            return run.solution(x, done - 1, error, certificate)
        new = None
        if before is not None and way is not None and size_before > 0:
            conjugate = max(0.0, float(np.vdot(residual, residual - before)) / size_before)
            new = _along(run, x, residual, -x.gradient + conjugate * way)
        else:
            new = _along(run, x, residual, -x.gradient)
        if new is None:  # give the direction up
            z = run.advance(x)
            way = None if run.value(z) >= run.value(x) else (z.x - x.x) / run.step
            x_new = z
        else:
            x_new, length = new
            way = (x_new.x - x.x) / length
        before, size_before, x = residual, size, x_new
        run.scale = max(run.scale, float(np.linalg.norm(x.x)))
    return run.solution(x, done, error, certificate)


def _along(run: Descent, x: Point, residual: np.ndarray, direction: np.ndarray) -> tuple[Point, float] | None:
    """The point down the arc prox(x + a direction, a) and its a; None where there is none."""
    probe = run.at(run.penalty.prox(x.x + run.step * direction, run.step))
    move = (probe.x - x.x) / run.step
    slope = float(np.vdot(residual, move))
    bend = float(np.vdot(move, probe.gradient - x.gradient)) / run.step
    if not slope < 0 or not np.isfinite(bend):
        return None
    length = min(max(-slope / bend, 1e-3 * run.step), 1e6 * run.step) if bend > 0 else 10 * run.step
    value = run.value(x)
    for _ in range(_TRIES):
        z = run.at(run.penalty.prox(x.x + length * direction, length))
        far = float(np.vdot(z.x - x.x, z.x - x.x)) / length
        if np.isfinite(z.loss) and run.value(z) <= value - _LEAST * far + 1e-14 * abs(value):
            return z, length
        length /= 2
    return None
