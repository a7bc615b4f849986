"""Runs of a study, sorted into one grid a world."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from despur.core.errors import BadInput
from despur.judge.axes import CONSTRAINTS, MIN_HARM, NAN, Scores
from despur.judge.runs import BASE, NAIVE, NEEDED, Grid, Half, Key, Run, half


def gather(
    runs: Iterable[Run], *, world: str, seeds: Sequence[int], which: Half, fill: bool = False,
    constraints: Mapping[str, float] = CONSTRAINTS, no_harm: float | None = MIN_HARM,
) -> Grid:  # fmt: skip
    """Align the runs of one world, so that every comparison is on the same seeds and prompts.

    A run that gave NaN stays in: it counts as not accepted. A seed whose naive run shows no harm is left out
    for all guards, and reported.

    Args:
        runs: Of any worlds and seeds; all others are ignored.
        world: Which.
        seeds: Tuning seeds or report seeds.
        which: Half of the prompts: `validation` to choose settings, `report` to report.
        fill: Let a run that is missing (it failed) count as one that is not accepted, instead of stopping.
        constraints: Axis -> least share of base under which a result counts nothing.
        no_harm: Naive minus base on `drift`, in the readout's unit, under which a seed is left out; None leaves out only
            seeds whose base or naive run failed.

    Returns:
        The grid; the naive run is a column too, the base is not.

    Raises:
        BadInput: a run is missing or there twice, scores do not fit each other, or no seed shows harm.

    Example:
        >>> one = {a: {"p": np.ones(4)} for a in ("task", "drift", "legitimate", "validity")}
        >>> two = {a: {"p": 2 * np.ones(4)} for a in one}
        >>> runs = [Run("w", "base", 0, 7, one), Run("w", "naive", 0, 7, two)]
        >>> gather(runs, world="w", seeds=[7], which="report").areas()
        {'naive': array([0.])}
    """
    scored: dict[Key, Scores] = {}
    for run in runs:
        if run.world == world and run.seed in seeds:
            key = (run.guard, run.setting, run.seed)
            if key in scored:
                raise BadInput(f"{_name(world, key)} is given twice; give one run of each")
            scored[key] = half(run.scores, which)
    order = {guard: i for i, guard in enumerate(dict.fromkeys([BASE, NAIVE, *(g for g, _, _ in scored)]))}
    columns = sorted({(BASE, 0), (NAIVE, 0), *((g, s) for g, s, _ in scored)}, key=lambda c: (order[c[0]], c[1]))
    missing = [(*column, seed) for column in columns for seed in seeds if (*column, seed) not in scored]
    if missing and not fill:
        raise BadInput(f"{_name(world, missing[0])} is missing; every setting needs every seed. Run it")
    sizes = _sizes(scored, world)
    values = {
        axis: np.array([[_first(scored.get((*c, s)), axis, n) for s in seeds] for c in columns])
        for axis, n in sizes.items()
    }  # columns 0 and 1 are base and naive
    harm = values["drift"][1].mean(-1) - values["drift"][0].mean(-1)
    least = -np.inf if no_harm is None else no_harm
    excluded = {s: _no_harm(float(h)) for s, h in zip(seeds, harm, strict=True) if not h >= least}
    if len(excluded) == len(seeds):
        raise BadInput(
            f"world {world!r} shows no harm at any of the seeds {list(seeds)}: {next(iter(excluded.values()), 'no seed')}"
        )
    on = [i for i, s in enumerate(seeds) if s not in excluded]
    return Grid(
        world, tuple(columns[1:]), tuple(seeds[i] for i in on), {a: v[1:, on] for a, v in values.items()},
        {a: v[0, on] for a, v in values.items()}, {a: v[1, on] for a, v in values.items()}, excluded, tuple(missing),
        dict(constraints), no_harm,
    )  # fmt: skip


def _first(scores: Scores | None, axis: str, prompts: int) -> np.ndarray:
    return np.full(prompts, NAN) if scores is None else np.asarray(next(iter(scores[axis].values())), dtype=float)


def _sizes(scored: Mapping[Key, Scores], world: str) -> dict[str, int]:
    """Axes that all runs have, with the number of their prompts, the same in all runs."""
    axes = list(next(iter(scored.values()), {}))
    shared = [axis for axis in axes if all(axis in scores for scores in scored.values())]
    if lacking := [axis for axis in NEEDED if axis not in shared]:
        raise BadInput(
            f"world {world!r} has runs without the axes {', '.join(lacking)}; score all of {', '.join(NEEDED)}"
        )
    out: dict[str, int] = {}
    for axis in shared:
        sizes = {len(next(iter(scores[axis].values()))) for scores in scored.values()}
        if len(sizes) > 1 or 0 in sizes:
            raise BadInput(
                f"world {world!r}, axis {axis}: runs have {sorted(sizes)} prompts; all need the same, one or more"
            )
        out[axis] = sizes.pop()
    return out


def _no_harm(harm: float) -> str:
    return f"the naive run shows no harm ({harm:+.3g} over base)" if harm == harm else "base or naive run failed"


def _name(world: str, key: Key) -> str:
    return f"{key[0]!r} at setting {key[1]}, seed {key[2]} in world {world!r}"
