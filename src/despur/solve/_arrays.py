"""What the solvers accept: finite real arrays, amounts of at least nothing, sizes that fit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from despur.core.errors import BadInput, ShapeMismatch

Numbers = float | int | np.number | np.ndarray | Sequence[Any]  # what numpy makes an array of


def reals(value: Numbers, name: str, *, ndim: int | None = None) -> np.ndarray:
    """Give a finite array of real numbers: float32 stays float32, all else becomes float64.

    Raises:
        BadInput: no numbers, complex ones, or NaN or Inf among them.
        ShapeMismatch: another number of axes than `ndim`.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise BadInput(f"{name} has rows of different lengths; pass one array of numbers") from error
    if array.dtype.kind not in "fiu":
        raise BadInput(f"{name} has dtype {array.dtype}; pass real numbers")
    if ndim is not None and array.ndim != ndim:
        raise ShapeMismatch(f"{name} has shape {array.shape}; it needs {ndim} axes")
    array = array if array.dtype == np.float32 else array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise BadInput(f"{name} has {bad} of {array.size} values that are NaN or Inf; drop or fill them first")
    return array


def amounts(value: Numbers, name: str, like: np.ndarray) -> np.ndarray:
    """Give what is at least 0, one for all or one a coordinate of `like`, in its dtype.

    Raises:
        BadInput: negative, or no finite number.
        ShapeMismatch: it does not fit `like`.
    """
    array = reals(value, name)
    if (array < 0).any():
        raise BadInput(f"{name} is {float(array.min()):g}; it must be 0 or more")
    try:
        fits = np.broadcast_shapes(array.shape, like.shape) == like.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeMismatch(f"{name} has shape {array.shape} and x {like.shape}; pass one number, or one a coordinate")
    return array.astype(like.dtype, copy=False)


def amount(value: Any, name: str, *, low: float = 0.0, above: bool = False) -> float:
    """Give one finite number that is at least `low`, or above it.

    Raises:
        BadInput: it is not.
    """
    good = isinstance(value, int | float | np.integer | np.floating) and value is not True and value is not False
    good = good and np.isfinite(value)
    if not good or value < low or (above and value == low):
        raise BadInput(f"{name} is {value!r}; it must be a number {'above' if above else 'of at least'} {low:g}")
    return float(value)


def weights_of(value: Numbers | None, name: str = "weights") -> np.ndarray | None:
    """Copy weights so that nobody changes them later; None where all are 1.

    Raises:
        BadInput: negative, or no finite number.
    """
    if value is None:
        return None
    array = np.array(reals(value, name), dtype=np.float64)
    amounts(array, name, array)
    array.flags.writeable = False
    return array


def as_map(matrix: Any, name: str) -> Any:
    """Give a linear map as a finite float64 matrix, dense or sparse.

    Raises:
        BadInput: not finite, or no numbers.
        ShapeMismatch: no matrix.
    """
    if scipy.sparse.issparse(matrix):
        reals(np.zeros(0, dtype=matrix.dtype), name)  # refuses what is not real
        rows = scipy.sparse.csr_array(matrix, dtype=np.float64)
        reals(rows.data, name)
        return rows
    return reals(matrix, name, ndim=2).astype(np.float64, copy=False)


def dense(matrix: Any) -> np.ndarray:
    """As a plain array."""
    return matrix.toarray() if scipy.sparse.issparse(matrix) else matrix


def freeze(target: Any, /, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(target, name, value)
