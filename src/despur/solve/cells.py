"""A sparse tensor: the cells that are there, and their values."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from despur.core.errors import BadInput, ShapeMismatch
from despur.solve._arrays import Numbers, freeze, reals


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Cells:
    """Values at n cells of a tensor of order m; of the others nothing is known, or they are zero: its user says which.

    The arrays are copied and cannot be written. Checking takes O(n log n) for each of the m axes.

    Args:
        index: (n, m) whole numbers, each cell once.
        value: (n,) finite.
        shape: Size of each of the m axes.

    Raises:
        BadInput: an index that is no whole number or lies outside `shape`, a cell twice (`Cells.add_up` adds them), a value that is not
            finite.
        ShapeMismatch: index, value and shape do not fit each other.

    Example:
        >>> cells = Cells([[0, 1], [2, 0]], [1.5, -2.0], (3, 2))
        >>> cells.order, len(cells)
        (2, 2)
        >>> cells.to_dense()
        array([[ 0. ,  1.5],
               [ 0. ,  0. ],
               [-2. ,  0. ]])
    """

    index: np.ndarray
    value: np.ndarray
    shape: tuple[int, ...]

    def __init__(self, index: Numbers, value: Numbers, shape: tuple[int, ...]) -> None:
        places, values, sizes = _checked(index, value, shape)
        if len(places) > 1:
            order, new = _runs(places)
            if not new.all():
                twice = places[order[int(np.argmin(new))]].tolist()
                raise BadInput(f"cell {twice} is there more than once; keep one, or add them with Cells.add_up")
        for array in (places, values):
            array.flags.writeable = False
        freeze(self, index=places, value=values, shape=sizes)

    @classmethod
    def add_up(cls, index: Numbers, value: Numbers, shape: tuple[int, ...]) -> "Cells":
        """Build from cells that may come more than once, adding their values; sorted by index.

        Raises:
            BadInput: as the class, but for cells that come twice.
            ShapeMismatch: as the class.

        Example:
            >>> Cells.add_up([[1], [0], [1]], [1.0, 2.0, 3.0], (2,)).value
            array([2., 4.])
        """
        places, values, sizes = _checked(index, value, shape)
        if len(places) == 0:
            return cls(places, values, sizes)
        order, new = _runs(places)
        return cls(places[order][new], np.add.reduceat(values[order], np.flatnonzero(new)), sizes)

    @classmethod
    def from_dense(cls, dense: Numbers, mask: Numbers | None = None) -> "Cells":
        """Take the cells of an array where the mask is true; without a mask those that are not NaN.

        Raises:
            BadInput: the array has no axis or no numbers, a chosen cell is not finite, or the mask is not one of booleans.
            ShapeMismatch: the mask has another shape than the array.

        Example:
            >>> Cells.from_dense([[1.0, np.nan], [0.0, 2.0]]).index.tolist()
            [[0, 0], [1, 0], [1, 1]]
        """
        array = np.asarray(dense)
        if array.ndim == 0 or array.dtype.kind not in "fiu":
            raise BadInput(f"a tensor needs an axis and real numbers; got shape {array.shape}, dtype {array.dtype}")
        array = array.astype(np.float64, copy=False)
        chosen = ~np.isnan(array) if mask is None else np.asarray(mask)
        if chosen.dtype != np.bool_:
            raise BadInput(f"the mask has dtype {chosen.dtype}; pass booleans, true where a cell is there")
        if chosen.shape != array.shape:
            raise ShapeMismatch(f"the mask has shape {chosen.shape} and the array {array.shape}; they must be equal")
        return cls(np.argwhere(chosen), array[chosen], array.shape)

    def to_dense(self, fill: float = 0.0, *, most: int = 2**28) -> np.ndarray:
        """Write the cells into an array, `fill` (0, or NaN for what is unobserved) elsewhere.

        Raises:
            BadInput: the array would have more than `most` cells.

        Example:
            >>> Cells([[1]], [3.0], (2,)).to_dense(fill=float("nan"))
            array([nan,  3.])
        """
        if math.prod(self.shape) > most:
            raise BadInput(f"shape {self.shape} is {math.prod(self.shape):.1e} cells, more than {most}: keep it sparse")
        out = np.full(self.shape, fill)
        out[tuple(self.index.T)] = self.value
        return out

    @property
    def order(self) -> int:
        """Number m of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        """Number n of cells."""
        return len(self.value)


def _checked(index: Numbers, value: Numbers, shape: Sequence[Any]) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    whole = all(isinstance(size, int | np.integer) and size >= 0 for size in shape)
    sizes = tuple(int(size) for size in shape) if whole else ()
    if not sizes:
        raise BadInput(f"shape {tuple(shape)} must be whole numbers of at least 0, one an axis")
    places = np.asarray(index)
    if places.size == 0 and places.ndim < 2:
        places = np.zeros((0, len(sizes)), dtype=np.int64)
    if places.ndim != 2 or places.shape[1] != len(sizes):
        raise ShapeMismatch(f"index has shape {places.shape}; a tensor of shape {sizes} needs (n, {len(sizes)})")
    if places.dtype.kind not in "iu":
        raise BadInput(f"index has dtype {places.dtype}; pass whole numbers, counted from 0")
    outside = (places < 0) | (places >= np.array(sizes))
    if outside.any():
        row = places[int(outside.any(1).argmax())].tolist()
        raise BadInput(f"cell {row} lies outside shape {sizes}; indices count from 0")
    values = np.array(reals(value, "value", ndim=1), dtype=np.float64)
    if len(values) != len(places):
        raise ShapeMismatch(f"{len(places)} rows of index and {len(values)} values; each cell needs one")
    return np.array(places, dtype=np.int64), values, sizes


def _runs(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order in which equal cells are neighbours, and for each in that order whether it is the first of its kind."""
    order = np.lexsort(places.T[::-1])
    in_order = places[order]
    new = np.concatenate([[True], (in_order[1:] != in_order[:-1]).any(1)])
    return order, new
