"""A measured figure with its interval and its control's figure."""

from dataclasses import asdict, dataclass, field
from typing import Any

from despur.core.notebook import frame_of, html_of


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """One measured figure, its interval, and the same figure for its control.

    Args:
        name: What was measured.
        value: The figure.
        low: Lower end of the 95 % interval.
        high: Upper end.
        n: Independent units behind it (prompts, clusters or seeds; `spec` says which).
        control: The figure for the control that `spec["control"]` names; NaN where none was run.
        unit: What the figure counts; fractions are in [0, 1].
        higher_is_better: Direction of good.
        spec: How it was measured.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    control: float = float("nan")
    unit: str = "fraction"
    higher_is_better: bool = True
    spec: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON (NaN becomes null)."""
        return {k: None if isinstance(v, float) and v != v else v for k, v in asdict(self).items()}

    def to_frame(self) -> Any:
        """One row of a pandas DataFrame.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return frame_of([{k: v for k, v in asdict(self).items() if k != "spec"}])

    def __repr__(self) -> str:
        """The figure, its interval and its control, on one line.

        Example:
            >>> Report("drift", 0.1, 0.05, 0.2, 64, control=0.9)
            <Report drift 0.1 [0.05, 0.2], control 0.9, n 64, fraction>
        """
        control = "" if self.control != self.control else f", control {self.control:.4g}"
        figure = f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]" if self.value == self.value else "not measured"
        return f"<Report {self.name} {figure}{control}, n {self.n}, {self.unit}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        rows: list[tuple[str, Any]] = [(k, v) for k, v in asdict(self).items() if k not in ("name", "spec") and v == v]
        return html_of(self.name, rows)


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure read off a curve, or NaN and the reason why there is none.

    Args:
        value: The figure.
        reason: "" where there is one.
    """

    value: float
    reason: str = ""
