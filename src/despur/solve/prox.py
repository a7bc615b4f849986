"""Proximal operators in closed form: op(v, strength) = argmin_x strength penalty(x) + (1/2) |x - v|^2."""

import numpy as np

from despur.core.errors import ShapeMismatch
from despur.solve._arrays import Numbers, amount, amounts, reals


def soft(v: Numbers, strength: Numbers) -> np.ndarray:
    """Draw every coordinate towards 0 by `strength`: the operator of the l1 norm.

        x = sign(v) max(|v| - strength, 0)

    O(d). float32 stays float32, here and below; all else becomes float64.

    Args:
        v: Any shape.
        strength: At least 0; one number or one a coordinate.

    Returns:
        As v.

    Raises:
        BadInput: v is not finite, or a strength is negative.
        ShapeMismatch: `strength` does not fit v.

    Example:
        >>> soft([3.0, -0.5, -2.0], 1.0)
        array([ 2.,  0., -1.])
    """
    x = reals(v, "v")
    bound = amounts(strength, "strength", x)
    return x - np.clip(x, -bound, bound)


def hard(v: Numbers, strength: Numbers) -> np.ndarray:
    """Keep what is worth its price: the operator of the number of coordinates that are not 0.

        x = v where |v| > sqrt(2 strength), else 0

    O(d). At equality 0 and v are equally good, and 0 is given.

    Args:
        v: Any shape.
        strength: Price of a coordinate; one number or one a coordinate.

    Returns:
        As v.

    Raises:
        BadInput: v is not finite, or a strength is negative.
        ShapeMismatch: `strength` does not fit v.

    Example:
        >>> hard([3.0, -1.0, -2.0], 1.0)
        array([ 3.,  0., -2.])
    """
    x = reals(v, "v")
    return np.where(np.abs(x) > np.sqrt(2 * amounts(strength, "strength", x)), x, np.zeros_like(x))


def cel0(v: Numbers, strength: Numbers, norms: Numbers = 1.0, *, step: float = 1.0) -> np.ndarray:
    """Threshold between soft and hard: the operator of the continuous exact l0 penalty of a least-squares loss.

    The penalty has the minimisers of least squares plus `strength` times the number of coordinates that are not 0, and fewer local minima
    that are none of them. With a = norms and s = step:

        penalty(x) = strength - (a^2 / 2) max(sqrt(2 strength) / a - |x|, 0)^2
        x = sign(v) min(|v|, max(|v| - sqrt(2 strength) a s, 0) / (1 - a^2 s))     where a^2 s < 1
        x = v where |v| > sqrt(2 strength s), else 0                               where a^2 s >= 1

    O(d).

    Args:
        v: Any shape.
        strength: Price of a coordinate; one number or one a coordinate.
        norms: Norm of the column of the loss's matrix that belongs to each coordinate.
        step: The operator is that of `step` times the penalty.

    Returns:
        As v.

    Raises:
        BadInput: v is not finite, a strength or norm is negative, or the step is not above 0.
        ShapeMismatch: `strength` or `norms` do not fit v.

    Example:
        >>> cel0([0.6, 1.0, 3.0], 1.0, step=0.5)
        array([0.        , 0.58578644, 3.        ])

    Source: Soubies, Blanc-Féraud and Aubert 2015, SIAM J. Imaging Sciences 8(3). Differs: at a tie 0 is given. Limits: a column of norm 0
    costs nothing.
    """
    x, s = reals(v, "v"), amount(step, "step", above=True)
    price, a = amounts(strength, "strength", x), amounts(norms, "norms", x)
    size, bend = np.abs(x), a * a * s
    firm = np.maximum(size - np.sqrt(2 * price) * a * s, 0) / np.where(bend < 1, 1 - bend, 1)
    small = np.where(bend < 1, np.minimum(size, firm), np.where(size > np.sqrt(2 * price * s), size, 0))
    return np.sign(x) * small + np.zeros_like(x)  # no -0.0


def nuclear(v: Numbers, strength: float) -> np.ndarray:
    """Draw every singular value of a matrix towards 0 by `strength`: the operator of their sum.

        v = U diag(s) W^T,   x = U diag(max(s - strength, 0)) W^T

    O(m n min(m, n)).

    Args:
        v: (m, n).
        strength: At least 0.

    Returns:
        As v.

    Raises:
        BadInput: v is not finite, or the strength is negative.
        ShapeMismatch: v is no matrix.

    Example:
        >>> nuclear([[3.0, 0.0], [0.0, 1.0]], 2.0)
        array([[1., 0.],
               [0., 0.]])

    Source: Cai, Candès and Shen 2010, SIAM J. Optimization 20(4). Differs: nothing known. Limits: a dense singular value decomposition
    each time.
    """
    x = reals(v, "v", ndim=2)
    u, s, wt = np.linalg.svd(x, full_matrices=False)
    return (u * soft(s, amount(strength, "strength"))) @ wt


def simplex(v: Numbers, radius: float = 1.0) -> np.ndarray:
    """Give the nearest point with no negative coordinate and the sum `radius`, along the last axis.

        x = max(v - c, 0),  c such that sum(x) = radius

    O(d log d) a row.

    Args:
        v: (..., d).
        radius: Above 0.

    Returns:
        As v.

    Raises:
        BadInput: v is not finite, or the radius is not above 0.
        ShapeMismatch: v has no axis, or an empty last one.

    Example:
        >>> simplex([0.5, 1.0, -1.0])
        array([0.25, 0.75, 0.  ])

    Source: Duchi, Shalev-Shwartz, Singer and Chandra 2008, ICML. Differs: sorts, where they also have an expected O(d). Limits: none known.
    """
    x, total = reals(v, "v"), amount(radius, "radius", above=True)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeMismatch(f"v has shape {x.shape}; the last axis needs at least one coordinate")
    down = x - x.max(-1, keepdims=True)  # the answer is the same, and large values lose no digits
    order = np.sort(down, axis=-1)[..., ::-1]
    shift = (np.cumsum(order, axis=-1) - total) / np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    count = (order > shift).sum(-1, keepdims=True)
    return np.maximum(down - np.take_along_axis(shift, count - 1, -1), 0).astype(x.dtype)
