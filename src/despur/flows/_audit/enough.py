"""How many rows of off-task text an audit takes: all on a small base; on a larger one as many as its verdict needs."""

from collections.abc import Callable
from typing import Any

from despur.flows._audit.passages import Passages
from despur.flows._audit.screen import Screen
from despur.flows._audit.verdict import LEAST, compared
from despur.flows.load import SMALL

ALL = 256
FEW = 48  # half of them to check on: there the interval of a share is about .05 to each side


def rows_at_first(model: Any, asked: int | None) -> int:
    """Rows to begin with: what was asked for; else all where a pass costs nothing, as in the bases of the worlds."""
    small = sum(p.numel() for p in model.parameters()) < SMALL
    return asked or (ALL if small else FEW)


def looked(look: Callable[[int], tuple[Passages, Screen]], rows: int, *, grows: bool) -> tuple[int, Passages, Screen]:
    """Look at twice as many rows, up to all, while the interval of what is judged spans the bound of a likely factor.

    Args:
        look: Measures on that many rows.
        rows: To begin with.
        grows: Whether it may take more; not where the user, or a null, says how many.
    """
    while True:
        found = look(rows)
        if not grows or rows >= ALL or settled(found[1]):
            return rows, *found
        rows = min(2 * rows, ALL)


def settled(seen: Screen) -> bool:
    """Whether more rows could make no other verdict of the candidate that is judged without neutral tunes."""
    best = compared(seen.change, seen.evidence, seen.checks, None)["best"]
    if best is None:
        return True
    c = seen.checks[best]
    return not c.interval[0] < LEAST * c.rank**0.5 <= c.interval[1]
