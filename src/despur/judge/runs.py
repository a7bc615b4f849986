"""Results of runs, from the long form (one run, one record) to arrays in which everything is paired."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from despur.core.errors import BadInput
from despur.judge.area import areas
from despur.judge.axes import AREA, CONSTRAINTS, LOWER, MIN_HARM, NAN, SPANNED, Scores, check_axis, meets

Half = Literal["validation", "report", "all"]
Key = tuple[str, int, int]  # guard, setting, seed
BASE, NAIVE = "base", "naive"  # the references are runs too, at setting 0
NEEDED = ("task", "drift", "legitimate", "validity")
HALVES = {"validation": slice(0, None, 2), "report": slice(1, None, 2), "all": slice(None)}


@dataclass(frozen=True, slots=True)
class Run:
    """One trained model's scores.

    Args:
        world: Where.
        guard: With what; `base` and `naive` are the references.
        setting: Number of the guard's setting, from weak to strong.
        seed: Of rows, start and guard.
        scores: Axis -> readout -> one value a prompt; the first readout of an axis counts.
    """

    world: str
    guard: str
    setting: int
    seed: int
    scores: Scores


def half(scores: Scores, which: Half) -> dict[str, dict[str, Any]]:
    """Take the prompts on which settings are chosen (even ones), or those on which figures are reported (odd ones).

    Example:
        >>> half({"task": {"p": np.array([1.0, 2.0, 3.0])}}, "report")
        {'task': {'p': array([2.])}}
    """
    return {axis: {name: t[HALVES[which]] for name, t in readouts.items()} for axis, readouts in scores.items()}


@dataclass(frozen=True)
class Grid:
    """All guards, settings and seeds of one world, on the same prompts.

    Args:
        world: Where.
        columns: Guard and setting of each column, those of a guard from weak to strong.
        seeds: Those that count.
        values: Axis -> (columns, seeds, prompts).
        base: Axis -> (seeds, prompts).
        naive: Axis -> (seeds, prompts).
        excluded: Seeds that were left out, and why.
        missing: Guard, setting and seed of runs that were not there; they count as not accepted.
        constraints: Axis -> least share of base under which a result counts nothing.
        no_harm: Harm of the naive run under which a seed was left out; None where no such rule was applied.
    """

    world: str
    columns: tuple[tuple[str, int], ...]
    seeds: tuple[int, ...]
    values: Mapping[str, np.ndarray]
    base: Mapping[str, np.ndarray]
    naive: Mapping[str, np.ndarray]
    excluded: Mapping[int, str] = field(default_factory=dict)
    missing: tuple[tuple[str, int, int], ...] = ()
    constraints: Mapping[str, float] = field(default_factory=lambda: dict(CONSTRAINTS))
    no_harm: float | None = MIN_HARM

    @cached_property
    def guards(self) -> tuple[str, ...]:
        """Names, in the order of the columns."""
        return tuple(dict.fromkeys(guard for guard, _ in self.columns))

    def of(self, guard: str) -> list[int]:
        """Columns of a guard, weak to strong.

        Raises:
            BadInput: it was not run here.
        """
        columns = [i for i, (name, _) in enumerate(self.columns) if name == guard]
        if not columns:
            raise BadInput(f"no run of {guard!r} in world {self.world!r}; there are {', '.join(self.guards)}")
        return columns

    @cached_property
    def axes(self) -> Mapping[str, np.ndarray]:
        """Axis -> (columns, seeds), normalised: base (0, 0), naive (1, 1), the others in shares of base."""
        means = {axis: v.mean(-1) for axis, v in self.values.items()}
        return {
            axis: normalised(axis, v, self.base[axis].mean(-1), self.naive[axis].mean(-1)) for axis, v in means.items()
        }

    @cached_property
    def kept(self) -> np.ndarray:
        """Whether the constraints are met, (columns, seeds)."""
        return meets(self.axes, self.constraints)

    def areas(self) -> dict[str, np.ndarray]:
        """Guard -> (seeds,) area that its settings dominate at each seed; the mean over seeds is its score."""
        parts = {guard: self.of(guard) for guard in self.guards}
        return {g: areas(self.axes["task"][at].T, self.axes["drift"][at].T, self.kept[at].T) for g, at in parts.items()}

    def scores(self, metric: str = AREA, settings: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
        """Guard -> (seeds,) the figure by which guards are ranked and tested.

        Args:
            metric: `area`, or an axis at the chosen settings, where what is not accepted counts as in `counted`.
            settings: Guard -> its chosen setting; only an axis needs it. The first one that was run where it is not named.

        Raises:
            BadInput: the axis was not scored.
        """
        if metric == AREA:
            return self.areas()
        check_axis(metric, self.axes)
        figure = counted(metric, self.axes[metric], self.kept)
        return {guard: figure[self.column(guard, (settings or {}).get(guard))] for guard in self.guards}

    def column(self, guard: str, setting: int | None) -> int:
        """Column of a guard's setting; of its first one that was run where that one was not."""
        at = self.of(guard)
        return next((i for i in at if self.columns[i][1] == setting), at[0])

    def points(self, guard: str, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """One guard's (settings, 2) task and drift, and (settings,) whether they count; without a seed, means over seeds."""
        at = self.of(guard)
        pick = list(range(len(self.seeds))) if seed is None else [self.seeds.index(seed)]
        mean = {axis: v[np.ix_(at, pick)].mean(1) for axis, v in self.axes.items()}
        return np.stack([mean["task"], mean["drift"]], 1), meets(mean, self.constraints)


def normalised(axis: str, run: np.ndarray, base: np.ndarray, naive: np.ndarray) -> np.ndarray:
    """Put means of one axis on the common scale; nothing is clipped, a reference without any span gives NaN."""
    zero, one = (base, naive) if axis in SPANNED else (np.zeros_like(base), base)
    span = one - zero
    return (run - zero) / np.where(span == 0, NAN, span)


def counted(axis: str, values: np.ndarray, accepted: np.ndarray) -> np.ndarray:
    """An axis as it counts under constraints: what is not accepted gets the worst value: none of the good, all of the bad."""
    return np.where(accepted & np.isfinite(values), values, 1.0 if axis in LOWER else 0.0)
