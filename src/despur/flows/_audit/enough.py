"""As many rows of off-task text as a verdict needs."""

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
        random_sufficiency=found.random_sufficiency,
        share=found.share,
        random_share=found.random_share,
    )


def looked(look: Callable[[int], tuple[Passages, Screen]], rows: int, *, grows: bool) -> tuple[int, Passages, Screen]:
    """Look at twice as many rows, up to all, while the interval of what is judged spans the bound of a likely factor.

    Args:
        look: Measures on that many rows.
        rows: To begin with.
        grows: Whether it may take more; not where the user, or a null, says how many.
    """
    while True:
        text, seen = look(rows)
        no_more = len(text.rows) < _ENOUGH * rows  # as where the user's prompts are few
        if not grows or rows >= ALL or no_more or settled(seen):
            return rows, text, seen
        del text, seen  # their predictions are large
        rows = min(2 * rows, ALL)


def settled(seen: Screen) -> bool:
    """Whether more rows could make no other verdict of the candidate that is judged without neutral tunes."""
    best = compared(seen.change, seen.evidence, seen.checks, None)["best"]
    if best is None:
        return True
    c = seen.checks[best]
    return not c.interval[0] < LEAST * c.rank**0.5 <= c.interval[1]
