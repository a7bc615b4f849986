"""Hierarchical paired bootstrap: seeds, then prompts, the same draws for every guard."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from despur.core.errors import BadInput
from despur.judge.area import areas
from despur.judge.axes import AREA, LOWER, check_axis, meets
from despur.judge.runs import Grid, counted, normalised

DRAWS = 10_000
COUNTED = "counted"  # among a world's axes: the metric where it is an axis, what is not accepted counted as such
BLOCK = 1000  # draws at once, so that memory grows only with the results


@dataclass(frozen=True)
class Draws:
    """What a world might have given on other seeds and prompts.

    Args:
        world: Where.
        guards: Names.
        columns: Guard and setting of each column.
        seeds: How many were resampled.
        score: (guards,) the area that was in fact found, mean over seeds.
        found: Axis -> (columns,) what was in fact found, mean over seeds.
        area: (draws, guards).
        axes: Axis -> (draws, columns).
        metric: By which guards are ranked and tested: `area`, or an axis.
    """

    world: str
    guards: tuple[str, ...]
    columns: tuple[tuple[str, int], ...]
    seeds: int
    score: np.ndarray
    found: Mapping[str, np.ndarray]
    area: np.ndarray
    axes: Mapping[str, np.ndarray]
    metric: str = AREA

    @property
    def figure(self) -> str:
        """What `of` calls the metric."""
        return AREA if self.metric == AREA else COUNTED

    @property
    def sign(self) -> int:
        """1 where more of the metric is better, -1 where less is."""
        return -1 if self.metric in LOWER else 1

    def ran(self, guard: str, setting: int | None) -> int:
        """A guard's setting, or its first one that was run where that one was not."""
        there = [number for name, number in self.columns if name == guard]
        return setting if setting in there else there[0]  # type: ignore[return-value]

    def of(self, what: str, guard: str, setting: int = 0) -> tuple[float, np.ndarray]:
        """What was found, and its draws: `area` of a guard, or an axis at one of its settings.

        Raises:
            BadInput: no such figure.
        """
        if what == "area" and guard in self.guards:
            return float(self.score[self.guards.index(guard)]), self.area[:, self.guards.index(guard)]
        if what in self.axes and (guard, setting) in self.columns:
            column = self.columns.index((guard, setting))
            return float(self.found[what][column]), self.axes[what][:, column]
        raise BadInput(
            f"no draws of {what!r} for {guard!r} at setting {setting}; there are area, {', '.join(self.axes)} of {self.columns}"
        )


def resample(
    grid: Grid,
    *,
    draws: int = DRAWS,
    metric: str = AREA,
    seed: int = 0,
    crossed: bool = True,
    clusters: Mapping[str, np.ndarray] | None = None,
) -> Draws:
    """Draw seeds, then prompts, with replacement; every guard sees the same draws, so differences are paired.

    Means over drawn prompts are counts times values, one matrix product for all guards.

    Args:
        grid: Of one world.
        draws: How many.
        metric: By which guards are ranked and tested: `area`, or an axis, whose draws then also stand among the axes as
            `counted`, what is not accepted in a draw having nothing of the good and all of the bad.
        seed: Of the draws.
        crossed: Whether every seed is asked the same prompts (drawn once for all seeds), or each its own (drawn within
            each drawn seed).
        clusters: Axis -> (prompts,) labels of prompts that belong together and are drawn whole; without, each its own.

    Returns:
        Draws of every guard's area and every column's axes.

    Raises:
        BadInput: the metric was not scored.

    Example:
        >>> from despur.judge import Run, difference, gather
        >>> rng = np.random.default_rng(0)
        >>> def score(t, q):
        ...     return {a: {"p": v + rng.random(20)} for a, v in dict(task=t, drift=q, legitimate=9, validity=9).items()}
        >>> runs = [Run("w", g, 0, s, score(t, q)) for s in range(8) for g, t, q in (("base", 0, 0), ("naive", 9, 9), ("mine", 8, 1))]
        >>> found = difference(resample(gather(runs, world="w", seeds=range(8), which="all"), draws=200), "mine", "naive")
        >>> 0.6 < found.low < found.value < found.high < 0.95
        True

    Source: two-level bootstrap (Davison and Hinkley 1997, 3.8); crossed: Owen 2007, "The pigeonhole bootstrap".
    Limits: drawing both levels counts some noise twice, and ends are widened for few seeds: in simulation 97 to 99 % of the
        95 % intervals cover. An area takes the best of noisy settings, so draws lie a little above what was found, and below
        where legitimate use is near its limit: read differences between guards with equally many settings.
    """
    rng = np.random.default_rng(seed)
    if metric != AREA:
        check_axis(metric, grid.axes)
    parts = [grid.of(guard) for guard in grid.guards]
    names = [*grid.values, *([COUNTED] if metric != AREA else [])]
    area, out = list[np.ndarray](), {axis: list[np.ndarray]() for axis in names}
    for start in range(0, draws, BLOCK):
        size = min(BLOCK, draws - start)
        total = np.zeros((size, len(parts)))
        sums = {axis: np.zeros((size, len(grid.columns))) for axis in names}
        for times, weights in _plan(grid, size, rng, crossed, clusters or {}):
            for s in range(len(grid.seeds)):
                at = np.flatnonzero(times[:, s])
                if not len(at):
                    continue
                axes = {axis: _drawn(grid, axis, s, w[at]) for axis, w in weights.items()}
                meeting = meets(axes, grid.constraints)
                scores = [areas(axes["task"][:, p], axes["drift"][:, p], meeting[:, p]) for p in parts]
                if metric != AREA:
                    axes[COUNTED] = counted(metric, axes[metric], meeting)
                total[at] += times[at, s, None] * np.stack(scores, 1)
                for axis, value in axes.items():
                    sums[axis][at] += times[at, s, None] * value
        area.append(total / len(grid.seeds))
        for axis, value in sums.items():
            out[axis].append(value / len(grid.seeds))
    score = grid.areas()
    observed = dict(grid.axes)
    if metric != AREA:
        observed[COUNTED] = counted(metric, grid.axes[metric], grid.kept)
    return Draws(
        grid.world, grid.guards, grid.columns, len(grid.seeds), np.array([score[g].mean() for g in grid.guards]),
        {axis: v.mean(1) for axis, v in observed.items()}, np.concatenate(area),
        {axis: np.concatenate(v) for axis, v in out.items()}, metric,
    )  # fmt: skip


def _plan(
    grid: Grid, size: int, rng: np.random.Generator, crossed: bool, clusters: Mapping[str, np.ndarray]
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yield how often each seed was drawn (size, seeds), with the weights of the prompts it is asked (size, prompts)."""
    n = len(grid.seeds)
    picks = rng.integers(n, size=(size, n))
    one_hot = np.eye(n)
    for times in [one_hot[picks].sum(1)] if crossed else one_hot[picks.T]:
        weights: dict[str, np.ndarray] = {}
        same: dict[int, np.ndarray] = {}  # axes with equally many prompts ask about the same things
        for axis, values in grid.values.items():
            prompts = values.shape[-1]
            if axis in clusters:
                weights[axis] = _weights(np.unique(clusters[axis], return_inverse=True)[1], size, rng)
            else:
                same.setdefault(prompts, _weights(np.arange(prompts), size, rng))
                weights[axis] = same[prompts]
        yield times, weights


def _weights(labels: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw clusters with replacement; (size, prompts) weights that sum to 1."""
    n = int(labels.max()) + 1
    picks = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, None]
    counts = np.bincount(picks.ravel(), minlength=n * size).reshape(size, n)[:, labels].astype(float)
    return counts / counts.sum(1, keepdims=True)


def _drawn(grid: Grid, axis: str, s: int, weights: np.ndarray) -> np.ndarray:
    """One seed's (draws, columns) on one axis, base and naive drawn with it."""
    run = weights @ grid.values[axis][:, s].T
    base, naive = (weights @ reference[axis][s] for reference in (grid.base, grid.naive))
    return normalised(axis, run, base[:, None], naive[:, None])
