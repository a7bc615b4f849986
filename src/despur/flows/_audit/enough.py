"""How many rows of off-task text an audit takes: all on a small base; on a larger one as many as its verdict needs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from despur.core.model.states import bare
from despur.flows._audit.passages import Passages
from despur.flows._audit.screen import Screen
from despur.flows._audit.verdict import LEAST, compared
from despur.flows.load import SMALL
from despur.measure import CausalCheck, causal_checks

ALL, FEW = 256, 48  # half of them to check on: of 24 the interval of a share is about .05 to each side


@dataclass(frozen=True)
class Effort:
    """What an audit spends where a pass costs nothing, as in the bases of the worlds; `LESS` where it does.

    Args:
        rows: Of off-task text, to begin with.
        control: Of the half that is checked on, those that random subspaces are exchanged on. Fewer rows make the largest of their
            shares larger, not smaller.
        prompts: That are continued with the factor and without it.
        limit: Largest strength that is tried for these, and halvings of the interval below it.
        halvings: See there.
        patched: Rows of the patch test.
    """

    rows: int = ALL
    control: int = ALL
    prompts: int = 6
    limit: float = 16.0
    halvings: int = 6
    patched: int = 24


LESS = Effort(FEW, 12, 4, 4.0, 2, 12)


def effort_for(model: Any) -> Effort:
    """What to spend on a base of this size."""
    return Effort() if sum(p.numel() for p in bare(model).parameters()) < SMALL else LESS


def rows_at_first(model: Any, asked: int | None) -> int:
    """Rows to begin with: what was asked for, or what the base's size allows."""
    return asked or effort_for(model).rows


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
