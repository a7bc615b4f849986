"""Every guard and every control on the same work. Parts are imported when they are asked for."""

from typing import TYPE_CHECKING

from despur.core._late import imported_late

if TYPE_CHECKING:
    from despur.flows.compare._arms import ARMS, QUICK
    from despur.flows.compare._compare import compare, report, settle
    from despur.flows.compare._estimate import Estimate, estimate
    from despur.flows.compare._study import Line, Study

__all__ = ["ARMS", "QUICK", "Estimate", "Line", "Study", "compare", "estimate", "report", "settle"]

__getattr__ = imported_late(
    "despur.flows.compare",
    {
        "_arms": ("ARMS", "QUICK"), "_compare": ("compare", "report", "settle"), "_estimate": ("Estimate", "estimate"),
        "_study": ("Line", "Study"),
    },
)  # fmt: skip
