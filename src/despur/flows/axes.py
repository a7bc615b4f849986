"""The four axes of some runs, as a table and as task against drift."""

from collections.abc import Collection, Mapping, Sequence

from despur.core import Report
from despur.judge import accepted
from despur.judge.axes import MIN_HARM
from despur.report import MISSING, Frontier, Point, Table

Axes = Mapping[str, Mapping[str, Report]]  # run -> axis -> report


NAMES = {
    "legitimate": "legitimate use",
    "forgetting": "still knows",
}  # 1 is nothing forgotten, which its own name does not say


def axes_table(
    title: str, axes: Axes, names: Sequence[str], note: str = "", *, best: str = "avert", missing: str = MISSING
) -> Table:
    """One row per arm, one column per axis.

    Args:
        title: Above it.
        axes: Run -> axis -> report.
        names: Axes, in the order of the columns.
        note: Below it.
        best: The run to emphasise.
        missing: Why a figure is not there.
    """
    rows = [[arm, *(reports[n].value if n in reports else None for n in names)] for arm, reports in axes.items()]
    header = ["run", *(NAMES.get(n, n.replace("_", " ")) for n in names)]
    return Table(title, header, rows, note, [i for i, arm in enumerate(axes) if arm == best], missing)


def no_drift(axes: Axes) -> str:
    """Why there is no drift to compare with; "" where there is."""
    spans = [r["drift"].spec["no_harm"] for r in axes.values() if "no_harm" in r["drift"].spec]
    if not spans:
        return ""
    return (
        f"the reference run moved the base off-task by {spans[0]:.2g} nats per token, less than {MIN_HARM:g}: so little that no share of "
        "it means anything"
    )


def frontier(
    axes: Axes, *, title: str, over: str = "prompts", controls: Collection[str] = (), note: str = ""
) -> Frontier:
    """Task against drift, one point per arm; controls are hollow."""
    points = [
        Point(
            arm, r["task"].value, r["drift"].value, (r["task"].low, r["task"].high), (r["drift"].low, r["drift"].high),
            arm in controls, accepted(r),
        )
        for arm, r in axes.items()
    ]  # fmt: skip
    whole = f"Bars are 95 % bootstrap intervals over {over}.{' ' * bool(note)}{note}"
    return Frontier(title, points, whole, no_drift(axes) or MISSING)
