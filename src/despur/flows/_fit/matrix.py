"""A table as rows by columns of numbers, NaN where nothing was seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from despur.core.errors import BadInput


@dataclass(frozen=True)
class Layout:
    """How a table is read; all empty where each of its columns is one of the matrix.

    Args:
        rows: Columns that name a row.
        cols: Columns that name a column.
        value: Column of numbers, or a value of the column `axis`.
        how: What several values of one cell make: mean, last; "" refuses them.
        where: Column -> the only value of it that is taken.
        groups: Column that says which rows belong together; "" for none.
    """

    rows: tuple[str, ...] = ()
    cols: tuple[str, ...] = ()
    value: str = ""
    how: str = ""
    where: Mapping[str, str] | None = None
    groups: str = ""


@dataclass(frozen=True)
class Matrix:
    """Rows by columns.

    Args:
        values: (n, d), NaN where nothing was seen.
        keys: Column that names rows -> its value for each row.
        columns: Name of each column.
        groups: Number of each row's group; None where none were asked for.
        merged: Values that came after the first of their cell.
        left_out: Lines of the table without a row's or a column's name.
    """

    values: np.ndarray
    keys: Mapping[str, Sequence[str]]
    columns: tuple[str, ...]
    groups: np.ndarray | None = None
    merged: int = 0
    left_out: int = 0

    @property
    def names(self) -> list[str]:
        """A name of each row."""
        return [" / ".join(parts) for parts in zip(*self.keys.values(), strict=True)]

    @property
    def empty(self) -> float:
        """Share of the cells that have no value."""
        return float(np.isnan(self.values).mean())

    def check_holes(self, method: str, estimator: Any) -> None:
        """Refuse empty cells where an estimator takes none.

        Raises:
            BadInput: it takes none, and there are some.
        """
        from sklearn.utils import get_tags

        if self.empty and not get_tags(estimator).input_tags.allow_nan:
            raise BadInput(
                f"{int(np.isnan(self.values).sum())} of {self.values.size} cells are empty, and {method} takes none. Take a part of the "
                "table with --where, or another estimator"
            )

    def check_seen(self, *, columns: bool = True) -> None:
        """Refuse a row or a column without any value.

        Args:
            columns: Whether columns are looked at, too.

        Raises:
            BadInput: there is one; the message names it.
        """
        seen = ~np.isnan(self.values)
        for axis, word, names in ((1, "row", self.names), (0, "column", self.columns))[: 1 + columns]:
            if (bare := np.flatnonzero(~seen.any(axis=axis))).size:
                more = f", nor have {bare.size - 1} more" if bare.size > 1 else ""
                raise BadInput(f"{word} {names[bare[0]]!r} has no value at all{more}. Leave it out of the table")

    def ordered(self, columns: Sequence[str], table: Path | str) -> "Matrix":
        """The same with its columns in another order.

        Raises:
            BadInput: it has other columns than these; the message names the first.
        """
        for word, one, two in (("lacks", columns, self.columns), ("also has", self.columns, columns)):
            if other := [name for name in one if name not in set(two)]:
                more = f" and {len(other) - 1} more" if len(other) > 1 else ""
                raise BadInput(
                    f"{str(table)!r} {word} column {other[0]!r}{more}; the fit was of {len(columns)} columns. Give a table of these"
                )
        place = {name: i for i, name in enumerate(self.columns)}
        order = [place[name] for name in columns]
        return Matrix(self.values[:, order], self.keys, tuple(columns), self.groups, self.merged, self.left_out)
