"""A measured figure with its interval and its control's figure."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure read off a curve, or NaN and the reason why there is none.

    Args:
        value: The figure.
        reason: "" where there is one.
    """

    value: float
    reason: str = ""
