"""What a table has, counted while it passes: rows, runs, prompts, modules, values that are missing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NAMES = ("run", "prompt", "module")  # columns whose names are counted


@dataclass
class Count:
    """Of one axis.

    Args:
        rows: Its rows.
        missing: Those without a value.
        names: Column -> the names in it.
    """

    rows: int = 0
    missing: int = 0
    names: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in NAMES})

    def to_dict(self) -> dict[str, int]:
        """Plain numbers."""
        return {"rows": self.rows, "missing": self.missing, **{f"{n}s": len(found) for n, found in self.names.items()}}


@dataclass
class Tally:
    """Of a table; `through` counts.

    Args:
        axes: Axis -> its count, in the order of the table.
    """

    axes: dict[str, Count] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(c.rows for c in self.axes.values())

    @property
    def missing(self) -> int:
        """Rows without a value."""
        return sum(c.missing for c in self.axes.values())

    @property
    def runs(self) -> set[str]:
        """Names of runs."""
        return set[str]().union(*(c.names["run"] for c in self.axes.values()))

    def through(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Give batches on, counted."""
        for batch in batches:
            self._add(batch)
            yield batch

    def _add(self, batch: Any) -> None:
        missing = np.asarray(batch.column("value").is_null())
        codes, axes = _codes(batch.column("axis"))
        names = {name: _codes(batch.column(name)) for name in NAMES}
        for code in np.unique(codes[codes >= 0]).tolist():
            at = codes == code
            count = self.axes.setdefault(axes[code], Count())
            count.rows += int(at.sum())
            count.missing += int(missing[at].sum())
            for name, (numbers, texts) in names.items():
                count.names[name].update(texts[i] for i in np.unique(numbers[at]).tolist() if i >= 0)


def _codes(column: Any) -> tuple[np.ndarray, list[str]]:
    """Numbers of a column of text, -1 where there is none, and the texts."""
    return np.asarray(column.indices.fill_null(-1)), column.dictionary.to_pylist()
