"""A column of a table as numbers, or as the names of rows, columns and groups."""

from typing import Any

import numpy as np

from despur.core.errors import BadInput

_EMPTY = ("", "na", "nan", "null", "none", "n/a")  # text of a cell that has no value


def numbers(column: Any, name: str, hint: str = "") -> np.ndarray:
    """A column as floats; what is empty is NaN.

    Args:
        column: Of pyarrow.
        name: Its name, for errors.
        hint: What else may be done about text, for errors.

    Raises:
        BadInput: it has text, lists or infinite numbers; the message has row and value.
    """
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        found = _from_text(column, name, hint)
    elif pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    elif (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        found = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    else:
        raise BadInput(f"column {name!r} has values of type {kind}; one number a row is needed")
    if (infinite := np.flatnonzero(np.isinf(found))).size:
        raise BadInput(
            f"row {infinite[0] + 1} has {found[infinite[0]]} in column {name!r}; leave it empty or write a number"
        )
    return found


def labels(column: Any) -> tuple[np.ndarray, list[str]]:
    """Code of each row, -1 where the column is empty, and the text of each code, in the order of their first rows."""
    import pyarrow as pa

    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = encoded.dictionary.to_pylist()
    if bare := [code for code, value in enumerate(values) if value is None or value == "" or value != value]:
        codes[np.isin(codes, bare)] = -1
    return codes, [_text(value) for value in values]


def _text(value: Any) -> str:
    """A value as a name: 3.0, which is what a column of whole numbers with gaps has, as 3."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _from_text(column: Any, name: str, hint: str) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    stripped: Any = pc.utf8_trim_whitespace(column)  # type: ignore[attr-defined]
    empty = pc.is_in(pc.utf8_lower(stripped), value_set=pa.array(_EMPTY, stripped.type))  # type: ignore[attr-defined]
    stripped = pc.if_else(empty, pa.scalar(None, stripped.type), stripped)  # type: ignore[attr-defined]
    try:
        return np.asarray(stripped.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    except pa.ArrowInvalid:
        row = _first_text(stripped)
        text = stripped[row].as_py()[:40]
        raise BadInput(
            f"row {row + 1} has {text!r} in column {name!r}, which is no number. Correct it, or leave the cell empty{hint}"
        ) from None


def _first_text(column: Any) -> int:
    """Place of the first text that is no number, by halves: the whole of a long column is looked at once or twice."""
    import pyarrow as pa

    low, high = 0, len(column)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            column.slice(low, middle - low).cast(pa.float64())
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low
