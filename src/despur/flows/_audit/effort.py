"""What an audit spends: all where a pass costs nothing, less on a larger base."""

from dataclasses import dataclass
from typing import Any

from despur.core.model.states import bare
from despur.flows.load import SMALL

ALL, FEW = 256, 40  # half of them to check on: of 20 the interval of a share is about .05 to each side


@dataclass(frozen=True)
class Effort:
    """What an audit spends where a pass costs nothing, as in the bases of the worlds; `LESS` where it does.

    Args:
        rows: Of off-task text, to begin with.
        control: Of the half that is checked on, those that random subspaces are exchanged on. Fewer rows make the largest of their
            shares larger, not smaller.
        prompts: That are continued with the factor and without it.
        limit: Largest strength that is tried for these.
        trials: Strengths from there down.
        patched: Rows of the patch test.
        both_ways: Whether every candidate is exchanged both ways, or the judged one alone.
    """

    rows: int = ALL
    control: int = ALL
    prompts: int = 6
    limit: float = 16.0
    trials: int = 17
    patched: int = 24
    both_ways: bool = True


LESS = Effort(FEW, 12, 4, 4.0, 5, 12, both_ways=False)


def effort_for(model: Any) -> Effort:
    """What to spend on a base of this size."""
    return Effort() if sum(p.numel() for p in bare(model).parameters()) < SMALL else LESS


def rows_at_first(model: Any, asked: int | None) -> int:
    """Rows to begin with: what was asked for, or what the base's size allows."""
    return asked or effort_for(model).rows
