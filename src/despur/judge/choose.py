"""Which setting is reported, and which guards need not run at all of their settings: both on tuning seeds only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from despur.judge.area import areas
from despur.judge.axes import axis_word, in_words, meets
from despur.judge.difference import interval
from despur.judge.resample import Draws
from despur.judge.runs import BASE, NAIVE, Grid

TIE = 0.005  # areas closer than this are one: the weaker setting is taken
CLEARLY = 0.02  # of task or drift


@dataclass(frozen=True, slots=True)
class Choice:
    """The setting of a guard that is reported.

    Args:
        setting: Its number.
        area: Of its own rectangle, task times (1 - drift), on the tuning seeds.
        accepted: Whether it meets the constraints there: keeps legitimate use and validity, unless the plan has others.
        reason: In words.
    """

    setting: int
    area: float
    accepted: bool
    reason: str


def choose_setting(grid: Grid, *, tie: float = TIE) -> dict[str, Choice]:
    """Choose each guard's setting: the largest own rectangle among those that meet the grid's constraints.

    Judged by means over the seeds. Ties go to the weaker setting. Where none is accepted, the one that keeps most is
    named, and marked as not accepted.

    Args:
        grid: Of tuning seeds and validation prompts: `gather(..., seeds=tuning, which="validation")`.
        tie: Areas closer than this to the largest count as ties.

    Returns:
        Guard -> choice.

    Example:
        >>> # choose_setting(gather(runs, world="persona", seeds=(0, 1, 2), which="validation"))["avert"].setting
    """
    mean = {axis: v.mean(1) for axis, v in grid.axes.items()}
    accepted, spare = _constraints(grid, mean)
    own = areas(mean["task"][:, None], mean["drift"][:, None])
    out: dict[str, Choice] = {}
    for guard in grid.guards:
        at = grid.of(guard)
        good = [i for i in at if accepted[i]]
        if good:
            best = max(own[i] for i in good)
            pick = next(i for i in good if own[i] >= best - tie)
            tied = " (or as good)" if own[pick] < best else ""
            reason = f"area {own[pick]:.3f}, the largest of {len(good)} accepted settings{tied}"
        else:
            pick = max(at, key=lambda i: spare[i])
            least = min(
                grid.constraints, key=lambda axis: np.nan_to_num(mean[axis][pick], nan=-np.inf) - grid.constraints[axis]
            )
            reason = f"no setting keeps {in_words(grid.constraints)}; this one keeps {mean[least][pick]:.0%} of {axis_word(least)}"
        out[guard] = Choice(grid.columns[pick][1], float(own[pick]), bool(good), reason)
    return out


def _constraints(grid: Grid, mean: Mapping[str, np.ndarray], clearly: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Which columns meet the constraints by means over the seeds, and by how much the worst axis does; a failed one by -inf."""
    above = [mean[axis] - least for axis, least in grid.constraints.items()] or [np.zeros_like(mean["task"])]
    return meets(mean, grid.constraints, spare=clearly), np.nan_to_num(np.min(above, axis=0), nan=-np.inf)


def dominated(
    draws: Draws, *, spare: Sequence[str] = (), apart: Sequence[str] = (), settings: Mapping[str, int] | None = None
) -> dict[str, str]:
    """Screen out guards whose area, or other metric, is clearly worse than another's: they get their chosen setting only.

    Clearly: the upper end of their interval lies under the highest lower end there is. With two or three tuning seeds the
    ends are the extremes of all draws, so that little is screened out by luck.

    Args:
        draws: Of tuning seeds and validation prompts.
        spare: Guards that are run at all settings in any case: baselines fixed beforehand.
        apart: Guards that cannot dominate others: controls, such as a tune on other data.
        settings: Guard -> chosen setting; needed where the metric of the draws is an axis.

    Returns:
        Guard -> why; references and the one with the highest lower end are never among them.

    Example:
        >>> # dominated(resample(tuning_grid), spare=["early-stop"], apart=["neutral-twin"])
    """
    at = settings or {}
    drawn = {g: draws.of(draws.figure, g, draws.ran(g, at.get(g)))[1] for g in draws.guards}
    ends = {guard: interval(draws.sign * found, units=draws.seeds) for guard, found in drawn.items()}
    best = max((g for g in draws.guards if g not in apart), key=lambda guard: ends[guard][0])
    safe = {best, BASE, NAIVE, *spare}
    words = ("at most", "at least")[:: draws.sign]
    return {
        guard: f"{draws.metric} {words[0]} {draws.sign * high:.3f}, {best} has {words[1]} {draws.sign * ends[best][0]:.3f}"
        for guard, (_, high) in ends.items() if guard not in safe and high < ends[best][0]
    }  # fmt: skip


def outdone(grid: Grid, *, clearly: float = CLEARLY) -> dict[str, tuple[int, ...]]:
    """Screen out settings that an accepted one of the same guard outdoes: they would add nothing to its area.

    Outdone: no more task, no less drift, and clearly worse in one; or a constraint clearly not met. By means over the
    seeds. A guard without any accepted setting keeps the one that keeps most.

    Args:
        grid: Of tuning seeds and validation prompts.
        clearly: Difference that counts.

    Returns:
        Guard -> numbers of those settings; guards without any are not in it.

    Example:
        >>> # outdone(gather(runs, world="persona", seeds=(0, 1), which="validation"))["rehearse"]
    """
    mean = {axis: v.mean(1) for axis, v in grid.axes.items()}
    accepted, spare = _constraints(grid, mean)
    nearly, _ = _constraints(grid, mean, clearly)
    task, drift = mean["task"], mean["drift"]
    out: dict[str, tuple[int, ...]] = {}
    for guard in grid.guards:
        at = grid.of(guard)
        good = [i for i in at if accepted[i]]
        most = max(at, key=lambda i: spare[i])

        def worse(i: int, good: Sequence[int] = good, most: int = most) -> bool:
            if not good:
                return i != most
            return not nearly[i] or any(
                task[j] >= task[i] and drift[j] <= drift[i] and max(task[j] - task[i], drift[i] - drift[j]) >= clearly
                for j in good
            )

        if settings := tuple(grid.columns[i][1] for i in at if worse(i)):
            out[guard] = settings
    return out
