"""Proximal gradient descent with momentum, backtracking and restart."""

import math
from typing import Literal

import numpy as np

from despur.core.errors import BadInput
from despur.solve._arrays import Numbers
from despur.solve._descent import Certify, Descent, Smooth, check_stop
from despur.solve.penalty import Penalty
from despur.solve.solution import Solution

_RESTARTS = ("gradient", "value", "never")


def fista(
    smooth: Smooth, penalty: Penalty, x0: Numbers, *, momentum: bool = True,
    restart: Literal["gradient", "value", "never"] = "gradient", step: float | None = None, max_iterations: int = 5000,
    tolerance: float = 1e-8, certificate: Certify | None = None,
) -> Solution:  # fmt: skip
    """Minimise a smooth loss plus a penalty by proximal gradient steps with momentum.

    The first choice wherever the penalty has an operator; `prox_ncg` where the loss is ill-conditioned, `admm` where there are two
    penalties or a linear map inside one.

        z = prox(y - step gradient(y), step);   y = z + ((t - 1) / t') (z - x);   t' = (1 + sqrt(1 + 4 t^2)) / 2

    Momentum starts again where it points uphill. One or two calls of `smooth` an iteration, and one for each halving of the step.

    Args:
        smooth: x -> value and gradient of the loss, both at once.
        penalty: What is added to it.
        x0: Where to begin, of any shape; a solution nearby saves most of the work.
        momentum: False gives plain proximal gradient descent (ISTA).
        restart: Restart momentum where (y - z) (z - x) > 0, where the value rises (and then step from x instead), or never. Where the
            penalty is not convex a rise is never accepted.
        step: The first step; halved as often as needed, raised to a tenth of a guess from two gradients. By default that guess.
        max_iterations: Most iterations.
        tolerance: Stop at this `error`.
        certificate: x -> upper bound of the value less the least one, such as `LeastSquares.gap`.

    Returns:
        Solution; `error` is the distance of 0 from the subgradients at x times the step, over the largest |x| so far.

    Raises:
        BadInput: x0, or the loss there, is not finite; no step lowers the loss; an option is out of bounds.
        ShapeMismatch: gradient and x0 have different shapes.

    Example:
        >>> from despur.solve import L1
        >>> toward = np.array([3.0, 0.5])
        >>> fista(lambda x: (0.5 * float(((x - toward) ** 2).sum()), x - toward), L1(1.0), np.zeros(2)).x.round(6)
        array([2., 0.])

    Source: Beck and Teboulle 2009, SIAM J. Imaging Sciences 2(1); restart: O'Donoghue and Candès 2015, Foundations of Computational
    Mathematics 15. Differs: the step doubles at a restart, where theory begins again; near the solution the step is judged by gradients,
    which keep their digits longer than values. Limits: where the penalty is not convex, a stationary point; which one, the start decides.
    """
    check_stop(max_iterations, tolerance)
    if restart not in _RESTARTS:
        raise BadInput(f"restart is {restart!r}; it must be one of: {', '.join(_RESTARTS)}")
    run = Descent(smooth, penalty, x0, step)
    x = y = run.start
    best, t, error, done = run.value(x), 1.0, math.inf, 0
    watched = restart == "value" or not penalty.convex
    for done in range(1, max_iterations + 1):
        z = run.advance(y)
        value = run.value(z)
        if y is not x and watched and value > best + 1e-14 * abs(best):
            y, t = x, 1.0
            z = run.advance(y)
            value = run.value(z)
        error = run.error(y, z)
        if error <= tolerance:
            return run.solution(z, done, error, certificate)
        ahead = z.x - x.x
        if restart == "gradient" and y is not x and np.vdot(y.x - z.x, ahead) > 0:
            t, run.step = 1.0, 2 * run.step
            x = y = z
        else:
            new = (1 + math.sqrt(1 + 4 * t * t)) / 2
            y = run.at(z.x + (t - 1) / new * ahead) if momentum and t > 1 else z
            t, x = new, z
        best = value
    return run.solution(x, done, error, certificate)
