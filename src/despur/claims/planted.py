"""The worlds in which guards' statements are measured, and the baseline that every guard must beat."""

from collections.abc import Mapping, Sequence
from typing import Any

from despur.core import Report
from despur.flows import Arm, try_guard

WORLDS = ("persona", "slant")  # where the tune shows its harm in a minute: a constant persona, a constant slant
HALVED, HALF = (
    "shrink",
    {"by": 0.5},
)  # the plain run's update, halved: what a guard without a control of its own is measured beside
BOUND = 0.5  # of the area, for all alike: half of the task without the drift, in each world
HALVED_IN_WORDS = "the plain run's update, halved"


def areas(
    seed: int, arm: str | Arm, setting: Mapping[str, Any], *, against: str | Arm = HALVED, at: Mapping[str, Any] | None = None,
    worlds: Sequence[str] = WORLDS, bound: float | None = BOUND,
) -> tuple[Report, ...]:  # fmt: skip
    """Measure the task that a guard learns without the drift, world by world, beside its control.

    Args:
        seed: Of everything that is drawn.
        arm: Line of the comparison.
        setting: Its options.
        against: The control.
        at: The control's options; the arm's own if left out, of the halved run its own.
        worlds: Names of planted worlds.
        bound: What the guard must reach and the control must not; None where the claim only compares the two.
    """
    more: dict[str, Any] = {} if bound is None else {"bound": bound}
    at = HALF if against == HALVED else at
    return tuple(try_guard(w, arm, setting, against=against, at=at, seed=seed, **more) for w in worlds)
