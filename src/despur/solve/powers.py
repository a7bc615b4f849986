"""Proximal operators of powers between 0 and 1: of the square root in closed form, of the others by Newton's method."""

import numpy as np

from despur.core.errors import BadInput
from despur.solve._arrays import Numbers, amounts, reals


def half(v: Numbers, strength: Numbers) -> np.ndarray:
    """Threshold by the operator of sqrt(|x|), in closed form: nearer to counting than soft, less abrupt than hard.

        x = (2/3) v (1 + cos((2 pi - 2 phi) / 3)),   phi = arccos((strength / 4) (|v| / 3)^(-3/2))
        where |v| > (3/2) strength^(2/3), else 0

    O(d).

    Args:
        v: Any shape.
        strength: At least 0; one number or one a coordinate.

    Returns:
        As v; either 0 or at least strength^(2/3) in size.

    Raises:
        BadInput: v is not finite, or a strength is negative.
        ShapeMismatch: `strength` does not fit v.

    Example:
        >>> half([1.0, 2.0], 1.0).round(6)
        array([0.      , 1.605378])

    Source: Xu, Chang, Xu and Zhang 2012, IEEE Trans. Neural Networks and Learning Systems 23(7). Differs: their lambda is twice
    `strength`, for their loss has no 1/2. Limits: not convex.
    """
    x = reals(v, "v")
    s = amounts(strength, "strength", x)
    size = np.abs(x)
    alive = size > 1.5 * np.cbrt(s) ** 2
    ratio = np.where(alive, s / 4, 0) / (np.where(alive, size, 3) / 3) ** 1.5
    angle = 2 / 3 * (np.pi - np.arccos(np.minimum(ratio, 1)))
    return np.where(alive, 2 / 3 * x * (1 + np.cos(angle)), 0).astype(x.dtype)


def lq(v: Numbers, strength: Numbers, q: float) -> np.ndarray:
    """Threshold by the operator of |x|^q for any q between 0 and 1; towards 0 it is `hard`, towards 1 `soft`.

    Above the threshold the answer is the larger root of x - |v| + strength q x^(q-1) = 0, on a stretch where the left side rises and is
    convex, so that Newton's steps from |v| fall to it and never pass it. Some 5 steps of O(d) each.

        b = (2 strength (1 - q))^(1 / (2 - q)):   x = 0 where |v| <= b (2 - q) / (2 - 2 q)

    Args:
        v: Any shape.
        strength: At least 0; one number or one a coordinate.
        q: Above 0 and below 1.

    Returns:
        As v; either 0 or at least b in size.

    Raises:
        BadInput: v is not finite, a strength is negative, or q is not between 0 and 1.
        ShapeMismatch: `strength` does not fit v.

    Example:
        >>> lq([1.0, 2.0], 1.0, 0.5).round(6)
        array([0.      , 1.605378])

    Source: Marjanovic and Solo 2012, IEEE Trans. Signal Processing 60(11). Differs: Newton's steps for their fixed-point ones, in units
    of |v|.
    Limits: not convex.
    """
    x = reals(v, "v")
    s = amounts(strength, "strength", x).astype(np.float64)
    check_power(q)
    size = np.abs(x).astype(np.float64)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        price = np.where(s > 0, s * size ** (q - 2), 0)  # strength in units of |v|, as if v were 1
    least = (2 * (1 - q) * np.where(np.isfinite(price), price, 0)) ** (1 / (2 - q))
    alive = np.isfinite(price) & (least * (2 - q) / (2 - 2 * q) < 1)
    root, price, least = np.ones(int(alive.sum())), price[alive], np.maximum(least[alive], np.finfo(float).tiny)
    for _ in range(100):
        rise = price * q * root ** (q - 1)
        new = np.maximum(root - (root - 1 + rise) / (1 + (q - 1) * rise / root), least)
        done = bool(np.all(np.abs(new - root) <= 4e-16 * root))
        root = new
        if done:
            break
    out = np.zeros_like(size)
    out[alive] = root
    return (out * x + 0.0).astype(x.dtype)  # no -0.0


def check_power(q: float) -> float:
    """Give q, between 0 and 1.

    Raises:
        BadInput: it is not.
    """
    if not 0 < q < 1:
        raise BadInput(f"q is {q!r}; it must lie above 0 and below 1: q = 1 is `soft`, q = 0 is `hard`")
    return float(q)
