"""Which setting is reported, and which guards need not be run at all of theirs: both on tuning seeds only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from despur.measure._area import areas
from despur.measure._axes import KEPT
from despur.measure._resample import Draws, interval
from despur.measure._runs import BASE, NAIVE, Grid

TIE = 0.005  # areas closer than this are one: the weaker setting is taken


@dataclass(frozen=True, slots=True)
class Choice:
    """The setting of a guard that is reported.

    Args:
        setting: Its number.
        area: Of its own rectangle, task times (1 - drift), on the tuning seeds.
        accepted: Whether it keeps legitimate use and validity there.
        reason: In words.
    """

    setting: int
    area: float
    accepted: bool
    reason: str


def choose_setting(grid: Grid, *, tie: float = TIE) -> dict[str, Choice]:
    """Choose each guard's setting: the largest own rectangle among those that keep legitimate use and validity.

    Judged by means over the seeds. Ties go to the weaker setting. Where none is accepted, the one that keeps most is
    named, and told as not accepted.

    Args:
        grid: Of tuning seeds and validation prompts: `gather(..., seeds=tuning, which="validation")`.
        tie: Areas closer than this to the largest are as good.

    Returns:
        Guard -> choice.

    Example:
        >>> # choose_setting(gather(runs, world="persona", seeds=(0, 1, 2), which="validation"))["avert"].setting
    """
    mean = {axis: v.mean(1) for axis, v in grid.axes.items()}
    worst = np.minimum(mean["legitimate"], mean["validity"])
    own = areas(mean["task"][:, None], mean["drift"][:, None])
    out: dict[str, Choice] = {}
    for guard in grid.guards:
        at = grid.of(guard)
        good = [i for i in at if worst[i] >= KEPT]
        if good:
            best = max(own[i] for i in good)
            pick = next(i for i in good if own[i] >= best - tie)
            tied = " (or as good)" if own[pick] < best else ""
            reason = f"area {own[pick]:.3f}, the largest of {len(good)} accepted settings{tied}"
        else:
            pick = max(at, key=lambda i: -np.inf if np.isnan(worst[i]) else worst[i])
            reason = f"no setting keeps {KEPT:.0%} of legitimate use and validity; this one keeps {worst[pick]:.0%}"
        out[guard] = Choice(grid.columns[pick][1], float(own[pick]), bool(good), reason)
    return out


def dominated(draws: Draws, *, spare: Sequence[str] = ()) -> dict[str, str]:
    """Screen out guards whose area is clearly under the best one's: they get their chosen setting only, not all.

    Clearly: the upper end of their interval lies under the lower end of the best's. With two or three tuning seeds the
    ends are the extremes of all draws, so that little is screened out by luck.

    Args:
        draws: Of tuning seeds and validation prompts.
        spare: Guards that are run at all settings whatever comes: controls of the best, baselines promised beforehand.

    Returns:
        Guard -> why; references and the best are never among them.

    Example:
        >>> # dominated(resample(tuning_grid), spare=["early-stop"])
    """
    ends = {guard: interval(draws.of("area", guard)[1], units=draws.seeds) for guard in draws.guards}
    best = max(draws.guards, key=lambda guard: draws.of("area", guard)[0])
    safe = {best, BASE, NAIVE, *spare}
    return {
        guard: f"area at most {high:.3f}, {best} has at least {ends[best][0]:.3f}"
        for guard, (_, high) in ends.items() if guard not in safe and high < ends[best][0]
    }  # fmt: skip
