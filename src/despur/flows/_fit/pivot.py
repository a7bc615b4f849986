"""A file into rows by columns: as it stands, or a line a cell."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from despur.core.errors import BadInput, UnknownName, nearest
from despur.flows._fit.columns import labels, numbers
from despur.flows._fit.matrix import Layout, Matrix
from despur.flows._fit.read import Source

MOST = 100_000_000  # cells, 0.8 GB
_AXIS, _VALUE = "axis", "value"  # of the long table of `despur table`: what was measured, and its number
_HINT = "; or name the column in --rows, if it has the rows' names"


def read_matrix(path: Path | str, layout: Layout) -> Matrix:
    """Read a table; see `Layout`.

    Raises:
        BadInput: text where a number belongs, a cell with two values, nothing that is left, a table that is too large.
        UnknownName: no such column, or no such value of one; the message names the nearest.
    """
    source, where = Source(path), dict(layout.where or {})
    value = layout.value
    if layout.cols and not (layout.rows and value):
        raise BadInput("--cols says that the table is long, one line a cell. Give --rows and --value, too")
    if value and not layout.cols:
        raise BadInput("--value names the numbers of a long table, one line a cell. Give --rows and --cols, too")
    if value and value not in source.names and {_AXIS, _VALUE} <= set(source.names):
        where[_AXIS], value = value, _VALUE
    asked = {
        "--rows": layout.rows,
        "--cols": layout.cols,
        "--value": (value,),
        "--where": where,
        "--groups": (layout.groups,),
    }
    named = [source.check(name, option) for option, names in asked.items() for name in names if name]
    columns = source.read(named if layout.cols else source.names)
    keep = _kept(columns, where)
    if layout.cols:
        return _pivot(columns, layout, value, keep)
    chosen = [name for name in source.names if name not in named]
    if not chosen:
        raise BadInput(f"{str(path)!r} has no column left for the matrix. Name fewer in --rows, --where and --groups")
    values = np.stack([numbers(columns[name], name, _HINT)[keep] for name in chosen], axis=1)
    keys = {name: _texts(columns[name], keep) for name in layout.rows} or {"row": [str(i + 1) for i in keep]}
    groups = labels(columns[layout.groups])[0][keep] if layout.groups else None
    return Matrix(values, keys, tuple(chosen), groups)


def _kept(columns: Mapping[str, Any], where: Mapping[str, str]) -> np.ndarray:
    """Lines that have the values asked for."""
    keep = np.arange(len(next(iter(columns.values()))))
    for name, wanted in where.items():
        codes, texts = labels(columns[name])
        same = [i for i, text in enumerate(texts) if text == wanted or _equal(text, wanted)]
        left = keep[np.isin(codes[keep], same)]
        if not left.size:
            there = list(dict.fromkeys(texts[code] for code in codes[keep] if code >= 0))
            raise UnknownName(
                f"no line has {name} {wanted!r}{nearest(wanted, there)}. There are: {', '.join(there[:12]) or 'none'}"
            )
        keep = left
    return keep


def _equal(text: str, wanted: str) -> bool:
    """Whether two texts are one number: 3 and 3.0."""
    try:
        return float(text) == float(wanted)
    except ValueError:
        return False


def _texts(column: Any, keep: np.ndarray) -> list[str]:
    codes, texts = labels(column)
    return [texts[code] if code >= 0 else "" for code in codes[keep]]


def _pivot(columns: Mapping[str, Any], layout: Layout, value: str, keep: np.ndarray) -> Matrix:
    """One line a cell → rows by columns."""
    found = numbers(columns[value], value)
    rows, row_keys, row_lines = _joined(columns, layout.rows, keep)
    cols, col_keys, _ = _joined(columns, layout.cols, keep)
    named = (rows >= 0) & (cols >= 0)
    left_out = int((~named).sum())
    seen = named & ~np.isnan(found[keep])
    if not seen.any():
        raise BadInput(
            f"no line has a number in {value!r} with a row's and a column's name. Look at --rows, --cols, --where"
        )
    n, d = len(row_keys), len(col_keys)
    if n * d > MOST:
        raise BadInput(
            f"--rows {','.join(layout.rows)} and --cols {','.join(layout.cols)} make {n:,} rows by {d:,} columns, more than {MOST:,} "
            "cells. Choose others, or take a part with --where"
        )
    places, numbers_ = rows[seen] * d + cols[seen], found[keep][seen]
    counts = np.bincount(places, minlength=n * d)
    merged = int((counts[counts > 1] - 1).sum())
    if merged and not layout.how:
        _refuse_two(places, counts, keep[seen], [" / ".join(k) for k in row_keys], [" / ".join(k) for k in col_keys], d)
    flat = np.full(n * d, np.nan)
    if layout.how == "mean":
        there = counts > 0
        flat[there] = np.bincount(places, weights=numbers_, minlength=n * d)[there] / counts[there]
    else:
        flat[places] = numbers_  # the last line of a cell stays
    keys = {name: [key[i] for key in row_keys] for i, name in enumerate(layout.rows)}
    names = tuple(" / ".join(key) for key in col_keys)
    if len(set(names)) < d:
        raise BadInput(
            f"two columns of the matrix would have one name, from {', '.join(layout.cols)}. Choose other --cols"
        )
    groups = _groups(columns, layout, keep, rows, row_lines, row_keys) if layout.groups else None
    return Matrix(flat.reshape(n, d), keys, names, groups, merged, left_out)


def _joined(
    columns: Mapping[str, Any], names: Sequence[str], keep: np.ndarray
) -> tuple[np.ndarray, list[tuple[str, ...]], np.ndarray]:
    """Code of each line by several columns together, in order of first lines; the parts of each code, and its first line."""
    import pandas as pd

    code, parts = np.zeros(len(keep), dtype=np.int64), [labels(columns[name]) for name in names]
    for codes, texts in parts:
        one = codes[keep]
        code, there = pd.factorize(np.where((code < 0) | (one < 0), -1, code * len(texts) + one))
        unnamed = there < 0  # one number at most, of lines that have no name
        code = (np.cumsum(~unnamed) - 1 - unnamed * len(there))[code].clip(-1)
    first = np.full(int(code.max(initial=-1)) + 1, -1)
    lines = np.flatnonzero(code >= 0)[::-1]
    first[code[lines]] = lines  # the last that is written is the first that is there
    return code, [tuple(texts[codes[keep[line]]] for codes, texts in parts) for line in first], first


def _refuse_two(
    places: np.ndarray, counts: np.ndarray, lines: np.ndarray, rows: Sequence[str], cols: Sequence[str], d: int
) -> None:
    place = int(np.flatnonzero(counts > 1)[0])
    one, two = lines[np.flatnonzero(places == place)[:2]] + 1
    raise BadInput(
        f"row {rows[place // d]!r} has {counts[place]} values in column {cols[place % d]!r} (lines {one} and {two} of the table), "
        f"and {int((counts > 1).sum()) - 1} other cells have several. Choose one with --where, or --how mean or last"
    )


def _groups(
    columns: Mapping[str, Any], layout: Layout, keep: np.ndarray, rows: np.ndarray, first: np.ndarray,
    names: Sequence[tuple[str, ...]],
) -> np.ndarray:  # fmt: skip
    codes = labels(columns[layout.groups])[0][keep]
    groups = codes[first]
    if (mixed := np.flatnonzero((rows >= 0) & (codes != groups[rows]))).size:
        row = " / ".join(names[int(rows[mixed[0]])])
        raise BadInput(
            f"row {row!r} has several values of {layout.groups!r}; a row belongs to one group. Choose other --groups"
        )
    return groups
