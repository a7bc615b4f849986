"""Which setting is reported, and which guards need not be run at all of theirs: both on tuning seeds only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from despur.judge.area import areas
from despur.judge.axes import KEPT
from despur.judge.resample import Draws, interval
from despur.judge.runs import BASE, NAIVE, Grid

TIE = 0.005  # areas closer than this are one: the weaker setting is taken
CLEARLY = 0.02  # of task or drift


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


def dominated(draws: Draws, *, spare: Sequence[str] = (), apart: Sequence[str] = ()) -> dict[str, str]:
    """Screen out guards whose area is clearly under another's: they get their chosen setting only, not all.

    Clearly: the upper end of their interval lies under the highest lower end there is. With two or three tuning seeds the
    ends are the extremes of all draws, so that little is screened out by luck.

    Args:
        draws: Of tuning seeds and validation prompts.
        spare: Guards that are run at all settings whatever comes: baselines promised beforehand.
        apart: Guards that dominate nobody: controls, such as a tune on other data.

    Returns:
        Guard -> why; references and the one with the highest lower end are never among them.

    Example:
        >>> # dominated(resample(tuning_grid), spare=["early-stop"], apart=["neutral-twin"])
    """
    ends = {guard: interval(draws.of("area", guard)[1], units=draws.seeds) for guard in draws.guards}
    best = max((g for g in draws.guards if g not in apart), key=lambda guard: ends[guard][0])
    safe = {best, BASE, NAIVE, *spare}
    return {
        guard: f"area at most {high:.3f}, {best} has at least {ends[best][0]:.3f}"
        for guard, (_, high) in ends.items() if guard not in safe and high < ends[best][0]
    }  # fmt: skip


def outdone(grid: Grid, *, clearly: float = CLEARLY) -> dict[str, tuple[int, ...]]:
    """Screen out settings that an accepted one of the same guard outdoes: they would add nothing to its area.

    Outdone: no more task, no less drift, and clearly worse in one; or legitimate use or validity clearly not kept. By means
    over the seeds. A guard without any accepted setting keeps the one that keeps most.

    Args:
        grid: Of tuning seeds and validation prompts.
        clearly: Difference that counts.

    Returns:
        Guard -> numbers of those settings; guards without any are not in it.

    Example:
        >>> # outdone(gather(runs, world="persona", seeds=(0, 1), which="validation"))["rehearse"]
    """
    mean = {axis: v.mean(1) for axis, v in grid.axes.items()}
    kept = np.minimum(mean["legitimate"], mean["validity"])
    task, drift = mean["task"], mean["drift"]
    out: dict[str, tuple[int, ...]] = {}
    for guard in grid.guards:
        at = grid.of(guard)
        good = [i for i in at if kept[i] >= KEPT]

        most = max(at, key=lambda i: -np.inf if np.isnan(kept[i]) else kept[i])

        def worse(i: int, good: Sequence[int] = good, most: int = most) -> bool:
            if not good:
                return i != most
            return not kept[i] >= KEPT - clearly or any(
                task[j] >= task[i] and drift[j] <= drift[i] and max(task[j] - task[i], drift[i] - drift[j]) >= clearly
                for j in good
            )

        if found := tuple(grid.columns[i][1] for i in at if worse(i)):
            out[guard] = found
    return out
