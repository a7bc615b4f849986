"""What a notebook shows of a result, and the same as a table of pandas."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from despur.core.errors import MissingExtra
from despur.core.visible import visible

LONGEST = 300  # characters of a cell


def frame_of(records: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as a pandas DataFrame.

    Args:
        records: A row each, column -> value.

    Raises:
        MissingExtra: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtra(
            "a frame needs pandas, which is not installed. Install: pip install 'despur[table]'"
        ) from error
    return pd.DataFrame(list(records))


def html_of(title: str, rows: Sequence[tuple[str, Any]]) -> str:
    """A title and a table of two columns, every string as text.

    Args:
        title: Above the table.
        rows: Name and value.

    Example:
        >>> html_of("<b>", [("rank", 2)])
        '<div><strong>&lt;b&gt;</strong><table><tr><th scope="row">rank</th><td>2</td></tr></table></div>'
    """
    cells = "".join(f'<tr><th scope="row">{_cell(n)}</th><td>{_cell(v)}</td></tr>' for n, v in rows)
    return f"<div><strong>{_cell(title)}</strong><table>{cells}</table></div>"


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return escape(visible(text[:LONGEST] + " …" * (len(text) > LONGEST)))


class FactorView:
    """What every factor shows of itself."""

    site: Any
    evidence: Mapping[str, Any]
    rank: Any
    width: Any

    def to_frame(self) -> Any:
        """One row of a pandas DataFrame: place, size and evidence.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return frame_of([dict(self._facts())])

    def __repr__(self) -> str:
        """Where it is and how large, on one line."""
        plural = "s" * (self.rank != 1)
        return f"<{type(self).__name__}: {self.rank} direction{plural} of width {self.width} at {self.site.module} ({self.site.side})>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html_of(type(self).__name__, self._facts())

    def _facts(self) -> list[tuple[str, Any]]:
        known = [
            ("module", self.site.module),
            ("side", self.site.side),
            ("directions", self.rank),
            ("width", self.width),
        ]
        return [*known, *((f"evidence: {name}", value) for name, value in self.evidence.items())]
