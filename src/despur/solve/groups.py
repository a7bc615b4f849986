"""Groups of coordinates that come and go together: the operator, and the group lasso's penalty."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from despur.core.errors import BadInput, ShapeMismatch
from despur.solve._arrays import Numbers, amount, amounts, freeze, reals
from despur.solve.penalty import Norm, coordinates, largest_ratio

Groups = Sequence[Sequence[int] | np.ndarray] | np.ndarray


def group(v: Numbers, strength: float, groups: Groups, weights: Numbers | None = None) -> np.ndarray:
    """Draw every group of coordinates towards 0 by one factor: the operator of the sum of the groups' norms.

        x_g = v_g max(1 - strength w_g / |v_g|, 0)

    O(d). A coordinate in no group stays. Of a matrix, groups are of rows.

    Args:
        v: (d,) or (d, c).
        strength: At least 0.
        groups: Indices of each group's members.
        weights: w, one a group; by default the square root of the group's number of entries in v.

    Returns:
        As v.

    Raises:
        BadInput: groups overlap, are empty or outside v; v is not finite; a strength is negative.
        ShapeMismatch: not one weight a group.

    Example:
        >>> group([3.0, 4.0, 1.0, 9.0], 1.0, [[0, 1], [2]], weights=[2.5, 5.0])
        array([1.5, 2. , 0. , 9. ])

    Source: Yuan and Lin 2006, J. R. Stat. Soc. B 68(1). Differs: nothing known. Limits: groups that overlap have no operator in closed
    form.
    """
    return GroupNorm(strength, groups, weights).prox(reals(v, "v"), 1.0)


@dataclass(frozen=True, eq=False, init=False)
class GroupNorm(Norm):
    """strength sum_g w_g |x_g|: the group lasso's, with groups of coordinates or, of a matrix, of rows.

    Args:
        strength: At least 0.
        groups: Indices of each group's members; what is in none is free.
        weights: w, one a group; by default the square root of its number of entries.

    Raises:
        BadInput: groups overlap, are empty or lie outside x; something is negative or not finite.
        ShapeMismatch: not one weight a group.

    Example:
        >>> GroupNorm(1.0, [[0, 1]], weights=[1.0]).value(np.array([3.0, 4.0, 7.0]))
        5.0
    """

    strength: float
    labels: np.ndarray  # of each row the number of its group, or -1
    weights: np.ndarray
    _by_size: bool  # prices grow with the number of a row's entries, too

    def __init__(self, strength: float, groups: Groups, weights: Numbers | None = None) -> None:
        labels = _labels(groups)
        sizes = np.bincount(labels[labels >= 0], minlength=len(groups))
        w = np.array(np.sqrt(sizes) if weights is None else reals(weights, "weights"), dtype=np.float64)
        if w.shape != sizes.shape:
            raise ShapeMismatch(f"weights has shape {w.shape}; there are {len(sizes)} groups, and each needs one")
        freeze(self, strength=amount(strength, "strength"), labels=labels, weights=amounts(w, "weights", w))
        freeze(self, _by_size=weights is None)

    def value(self, x: np.ndarray) -> float:
        """Weighted sum of the groups' norms."""
        return float(self._prices(x) @ self._norms(x))

    def prox(self, v: np.ndarray, step: float) -> np.ndarray:
        """Draw each group towards 0."""
        norms = self._norms(v)
        shrink = np.maximum(1 - step * self._prices(v) / np.where(norms > 0, norms, 1), 0)
        return v * self._spread(np.append(shrink, 1.0), v).astype(v.dtype) + np.zeros_like(v)  # no -0.0

    def dual(self, s: np.ndarray) -> float:
        """Largest norm over price."""
        return largest_ratio(self._norms(s), self._prices(s))

    def free(self, shape: tuple[int, ...]) -> np.ndarray:
        """Rows in no group, or in one without a price."""
        x = np.zeros(shape)
        return coordinates(np.broadcast_to(self._spread(np.append(self._prices(x), 0.0), x) == 0, shape))

    def _rows(self, x: np.ndarray) -> np.ndarray:
        if x.ndim == 0 or len(x) < len(self.labels):
            raise BadInput(f"x has shape {x.shape}; the groups have index {len(self.labels) - 1}, outside its rows")
        return np.pad(self.labels, (0, len(x) - len(self.labels)), constant_values=-1)

    def _prices(self, x: np.ndarray) -> np.ndarray:
        entries = x.size // max(len(x), 1) if self._by_size else 1
        return self.strength * self.weights * np.sqrt(entries)

    def _norms(self, x: np.ndarray) -> np.ndarray:
        squares = (x.astype(np.float64) ** 2).reshape(len(x), -1).sum(1) if x.ndim else x
        return np.sqrt(np.bincount(self._rows(x) + 1, weights=squares, minlength=len(self.weights) + 1)[1:])

    def _spread(self, values: np.ndarray, x: np.ndarray) -> np.ndarray:
        """From groups to rows; the last value is for rows in none."""
        return values[self._rows(x)].reshape(-1, *([1] * (x.ndim - 1)))


def _labels(groups: Groups) -> np.ndarray:
    """Number of the group of each row up to the last that has one; -1 for none."""
    parts = [np.asarray(members) for members in groups]
    for number, rows in enumerate(parts):
        if rows.ndim != 1 or rows.size == 0 or rows.dtype.kind not in "iu" or rows.min() < 0:
            raise BadInput(
                f"group {number} must be a list of at least one index, counted from 0; got {groups[number]!r}"
            )
    labels = np.full(max((int(rows.max()) + 1 for rows in parts), default=0), -1)
    for number, rows in enumerate(parts):
        if (labels[rows] >= 0).any() or len(np.unique(rows)) < len(rows):
            raise BadInput(f"group {number} has a coordinate twice or shares one with another; groups must not overlap")
        labels[rows] = number
    return labels
