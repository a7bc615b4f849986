"""Arithmetic of what comes after the guard: training on without it, training at higher rank, one figure a seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from despur.core import Report
from despur.core.errors import BadInput
from despur.judge.area import Reading
from despur.judge.axes import NAN


@dataclass(frozen=True, slots=True)
class Rise:
    """A drift that was measured while training went on.

    Args:
        start: Before the first additional step.
        end: After the last.
        area: Mean over the steps.
        reached: Steps until a level was reached.
    """

    start: float
    end: float
    area: float
    reached: Reading


def rise(steps: Sequence[float | int], drift: Sequence[float], *, level: float = 0.5) -> Rise:
    """Summarise a drift over additional steps: release (trained on without the guard), relearning (on the harm itself).

    Compare it with the same curve of the base: what returns no sooner than it is first learned was removed.

    Args:
        steps: Rising, 0 the guarded model itself.
        drift: Normalised, one a step.
        level: Drift that counts as returned.

    Raises:
        BadInput: fewer than two points, unequal lengths, or steps that do not rise.

    Example:
        >>> rise([0, 10, 20], [0.0, 0.25, 1.0], level=0.625)
        Rise(start=0.0, end=1.0, area=0.375, reached=Reading(value=15.0, reason=''))
    """
    x, y = np.asarray(steps, dtype=float), np.asarray(drift, dtype=float)
    if x.shape != y.shape or x.size < 2 or not (np.diff(x) > 0).all():
        raise BadInput(
            f"a curve needs two or more rising steps and a drift for each; got steps {x.tolist()}, drift {y.tolist()}"
        )
    area = float(np.trapezoid(y, x) / (x[-1] - x[0]))
    over = np.flatnonzero(y >= level)
    if not len(over):
        reached = Reading(NAN, f"{np.nanmax(y):.3g} at most within {x[-1]:g} steps")
    else:
        i = int(over[0])
        reached = Reading(
            float(x[0] if i == 0 else x[i - 1] + (level - y[i - 1]) / (y[i] - y[i - 1]) * (x[i] - x[i - 1]))
        )
    return Rise(float(y[0]), float(y[-1]), area, reached)


def by_seed(
    name: str, values: Sequence[float] | np.ndarray, *, control: Sequence[float] | np.ndarray | None = None,
    control_name: str = "none", unit: str = "share of naive", higher_is_better: bool = False,
) -> Report:  # fmt: skip
    """Report one figure a seed: mean and t-interval, seeds where it was not attained listed in `spec`.

    Args:
        name: What was measured.
        values: One a seed; NaN where it was not attained.
        control: The same for the control.
        control_name: What that is.
        unit: Of the values.
        higher_is_better: Direction of good.

    Example:
        >>> by_seed("recovery", [0.75, 1.0, 1.25, float("nan")]).value
        1.0
    """
    x = np.asarray(values, dtype=float)
    seen = x[np.isfinite(x)]
    mean, low, high = _t_interval(seen)
    other = np.asarray([] if control is None else control, dtype=float)
    other = other[np.isfinite(other)]
    spec = {"unit": "seed", "control": control_name, "not_attained": int(x.size - seen.size)}
    return Report(
        name, mean, low, high, int(seen.size), float(other.mean()) if other.size else NAN, unit, higher_is_better, spec
    )


@dataclass(frozen=True, slots=True)
class Ladder:
    """A figure over LoRA ranks.

    Args:
        ranks: Rising.
        means: Over seeds.
        lows: Lower ends.
        highs: Upper ends.
        slope: Change for each doubling of rank, fitted at each seed, mean over seeds.
        slope_low: Lower end.
        slope_high: Upper end.
    """

    ranks: tuple[int, ...]
    means: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    slope: float
    slope_low: float
    slope_high: float


def ladder(ranks: Sequence[int], values: np.ndarray) -> Ladder:
    """Summarise a figure over a ladder of ranks, paired by seed.

    Args:
        ranks: Two or more, rising.
        values: (ranks, seeds).

    Raises:
        BadInput: the shapes do not fit.

    Example:
        >>> ladder([1, 2, 4], np.array([[0.0, 0.25], [0.5, 0.75], [1.0, 1.25]])).slope
        0.5
    """
    doublings = np.log2(np.asarray(ranks, dtype=float))
    if values.ndim != 2 or len(values) != len(ranks) or len(ranks) < 2 or not (np.diff(doublings) > 0).all():
        raise BadInput(
            f"a ladder needs two or more rising ranks and (ranks, seeds) values; got {list(ranks)}, {values.shape}"
        )
    off = doublings - doublings.mean()
    slopes = off @ values / (off @ off)
    means, lows, highs = zip(*(_t_interval(row) for row in values), strict=True)
    return Ladder(tuple(ranks), means, lows, highs, *_t_interval(slopes))


def _t_interval(x: np.ndarray) -> tuple[float, float, float]:
    """Mean with its 95 % t-interval over seeds; of one seed no interval is known."""
    if not x.size:
        return NAN, NAN, NAN
    mean = float(x.mean())
    if x.size == 1:
        return mean, NAN, NAN
    half = float(stats.t.ppf(0.975, x.size - 1) * x.std(ddof=1) / x.size**0.5)
    return mean, mean - half, mean + half
