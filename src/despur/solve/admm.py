"""The alternating direction method of multipliers: two penalties, or one behind a linear map."""

import math
from typing import Any

import numpy as np

from despur.core.errors import BadInput, ShapeMismatch
from despur.core.reports import Reading
from despur.solve._arrays import Numbers, amount, as_map, reals
from despur.solve._descent import Certify, check_stop
from despur.solve.penalty import Penalty
from despur.solve.solution import NO_CERTIFICATE, Solution

_TURN, _EVERY, _UNTIL = 10.0, 10, 1000  # by how much rho turns at most, and when; fixed at last, so that theory holds


def admm(
    first: Penalty, second: Penalty, x0: Numbers, *, inside: Any = None, rho: float = 1.0, adapt: bool = True,
    relax: float = 1.6, max_iterations: int = 5000, tolerance: float = 1e-8, certificate: Certify | None = None,
) -> Solution:  # fmt: skip
    """Minimise first(x) + second(K x), where each has an operator but their sum has none.

    For what `fista` cannot do: a penalty behind a linear map, several constraints at once (K one unit matrix below another), two
    penalties that are both not smooth. With u the multipliers over rho:

        x = argmin first(x) + (rho / 2) |K x - z + u|^2;   h = relax K x + (1 - relax) z
        z = prox(h + u, 1 / rho) of second;                u = u + h - z

    Args:
        first: Its `prox(v, step)` gives argmin_x step first(x) + (1/2) |K x - v|^2; without `inside`, K = 1, that is the plain operator.
            `LeastSquares(..., inside=K)` does it for any K.
        second: Any penalty.
        x0: Where to begin, of any shape.
        inside: K, (m, d), dense or sparse (scipy); without it K = 1.
        rho: Price of K x != z, above 0; only the speed depends on it.
        adapt: In the first thousand iterations turn rho until both residuals, each over its own terms, are equally large.
        relax: In (0, 2); above 1 it goes further than asked, which mostly helps.
        max_iterations: Most iterations.
        tolerance: Stop at this `error`.
        certificate: x -> upper bound of the value less the least one, such as `LeastSquares.gap`.

    Returns:
        Solution; x is z where K = 1 (its zeros and constraints are exact), else x. `error` is the larger of |K x - z| and
        |K^T (z - z_before)|, each over the largest of its terms so far.

    Raises:
        BadInput: x0 is not finite, or an option is out of bounds.
        ShapeMismatch: K and x0 do not fit.

    Example:
        >>> from despur.solve import L1, LeastSquares, Simplex
        >>> admm(LeastSquares(np.eye(3), [0.9, 0.5, -1.0]), Simplex(), np.zeros(3)).x.round(6)
        array([0.7, 0.3, 0. ])

    Source: Boyd, Parikh, Chu, Peleato and Eckstein 2011, Foundations and Trends in Machine Learning 3(1), sections 3.3 and 3.4; the turn of
    rho: Wohlberg 2017, arXiv:1704.06209. Differs: rho turns every tenth iteration and is fixed after a thousand. Limits: convex
    penalties; for others nothing is promised.
    """
    check_stop(max_iterations, tolerance)
    if not 0 < relax < 2:
        raise BadInput(f"relax is {relax}; it must lie above 0 and below 2")
    rho = amount(rho, "rho", above=True)
    x = np.array(reals(x0, "x0"), dtype=np.float64)
    k = None if inside is None else as_map(inside, "inside")
    if k is not None and (x.ndim == 0 or k.shape[1] != len(x)):
        raise ShapeMismatch(f"inside is of {k.shape[1]} unknowns and x0 has shape {x.shape}; they must be the same")
    kx = x if k is None else k @ x
    z, u = kx, np.zeros_like(kx)
    scale = pulled = 0.0
    error, done = math.inf, 0
    for done in range(1, max_iterations + 1):
        x = first.prox(z - u, 1 / rho)
        kx = x if k is None else k @ x
        h = relax * kx + (1 - relax) * z
        new = second.prox(h + u, 1 / rho)
        u, move, z = u + h - new, new - z, new
        scale = max(scale, float(np.linalg.norm(kx)), float(np.linalg.norm(z)))
        pull, push = _norm(k, move), _norm(k, u)
        pulled = max(pulled, _norm(k, z), push)
        apart = _share(float(np.linalg.norm(kx - z)), scale)
        error = max(apart, _share(pull, pulled))
        if error <= tolerance:
            break
        if adapt and done % _EVERY == 0 and done <= _UNTIL:
            drift = _share(pull, push)
            turn = min(max(math.sqrt(apart / drift), 1 / _TURN), _TURN) if apart > 0 and drift > 0 else 1.0
            rho, u = rho * turn, u / turn
    best = z if k is None else x
    value = first.value(best) + second.value(z if k is None else kx)
    proof: Reading = certificate(best) if certificate else NO_CERTIFICATE
    return Solution(best, value, done, error, proof)


def _norm(k: Any, z: np.ndarray) -> float:
    return float(np.linalg.norm(z if k is None else k.T @ z))


def _share(part: float, whole: float) -> float:
    return 0.0 if part == 0 else part / whole if whole > 0 else math.inf
