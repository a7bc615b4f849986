"""The four axes of some runs, as a table and as task against drift."""

from collections.abc import Collection, Mapping, Sequence

from despur.core import Report
from despur.judge import accepted
from despur.report import Frontier, Point, Table

Axes = Mapping[str, Mapping[str, Report]]  # run -> axis -> report


def axes_table(title: str, axes: Axes, names: Sequence[str], note: str = "") -> Table:
    """One row per arm, one column per axis."""
    rows = [[arm, *(reports[n].value if n in reports else None for n in names)] for arm, reports in axes.items()]
    best = [i for i, arm in enumerate(axes) if arm == "avert"]
    return Table(title, ["run", *(n.replace("_", " ") for n in names)], rows, note, best)


def frontier(axes: Axes, *, title: str, over: str = "prompts", controls: Collection[str] = ()) -> Frontier:
    """Task against drift, one point per arm; controls are hollow."""
    points = [
        Point(
            arm, r["task"].value, r["drift"].value, (r["task"].low, r["task"].high), (r["drift"].low, r["drift"].high),
            arm in controls, accepted(r),
        )
        for arm, r in axes.items()
    ]  # fmt: skip
    return Frontier(title, points, f"Bars are 95 % bootstrap intervals over {over}.")
