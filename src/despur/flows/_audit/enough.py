"""As many rows of off-task text as a verdict needs."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from despur.flows._audit.effort import ALL, effort_for
from despur.flows._audit.passages import Passages
from despur.flows._audit.screen import Screen
from despur.flows._audit.verdict import LEAST, compared
from despur.measure import CausalCheck, causal_checks

_ENOUGH = 0.75  # of the rows that were asked for: some are written twice, and count once


def beside_random(
    seen: Screen, model: Any, passages: Passages, judged: str, *, n_random: int, seed: int
) -> CausalCheck:
    """A candidate's check with random subspaces beside it, which a costly base exchanges on fewer rows."""
    _, check = passages.halves()
    rows = min(effort_for(model).control, len(check.rows))
    whole = rows == len(check.rows)
    found = causal_checks(
        model, check.rows[:rows], {judged: seen.candidates[judged]}, n_random=n_random, starts=check.starts[:rows], seed=seed,
        passes=seen.passes if whole else None,
    )[judged]  # fmt: skip
    return replace(
        seen.checks[judged],
        necessity=found.necessity,
        random_sufficiency=found.random_sufficiency,
        share=found.share,
        random_share=found.random_share,
    )


def looked(look: Callable[[int], tuple[Passages, Screen]], rows: int, *, grows: bool) -> tuple[int, Passages, Screen]:
    """Look at more rows, up to all, while the interval of what is judged spans the bound of a likely factor.

    Each time as many as would settle it if the share stayed what it is: every look measures all of its rows, so doubling them until they
    are all would measure twice as many.

    Args:
        look: Measures on that many rows.
        rows: To begin with.
        grows: Whether it may take more; not where the user, or a null, says how many.
    """
    while True:
        text, seen = look(rows)
        no_more = len(text.rows) < _ENOUGH * rows  # as where the user's prompts are few
        wanted = rows_wanted(seen, rows)
        if not grows or rows >= ALL or no_more or wanted <= rows:
            return rows, text, seen
        del text, seen  # their predictions are large
        rows = wanted


def rows_wanted(seen: Screen, rows: int) -> int:
    """How many rows the candidate that is judged without neutral tunes needs, twice as many at least; no more where it is settled."""
    best = compared(seen.change, seen.evidence, seen.checks, None)["best"]
    if best is None:
        return rows
    c = seen.checks[best]
    bound, (low, high) = LEAST * c.rank**0.5, c.interval
    if not low < bound <= high:
        return rows
    off = abs(c.sufficiency - bound)
    return min(ALL, max(2 * rows, math.ceil(rows * ((high - low) / 2 / off) ** 2) if off else ALL))
