"""Two guards' difference, and the interval of resampled figures."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from despur.judge.resample import Draws


@dataclass(frozen=True, slots=True)
class Difference:
    """Guard minus baseline, paired.

    Args:
        value: As found.
        low: Lower end of the interval.
        high: Upper end.
        share_above: Share of draws over 0.
    """

    value: float
    low: float
    high: float
    share_above: float


def interval(draws: np.ndarray, *, units: int, level: float = 0.95) -> tuple[float, float]:
    """Percentiles, widened for few units: plain ones of a bootstrap over eight seeds cover about 90 %, not 95 %.

        ends at  Phi(-+ t_{units - 1} sqrt(units / (units - 1)))

    Args:
        draws: (draws,) of one figure.
        units: Seeds behind it; of a single one nothing is known about others, and the percentiles stay plain.
        level: Coverage.

    Returns:
        Low and high; NaN where a draw is NaN.

    Example:
        >>> [round(x, 2) for x in interval(np.linspace(0.0, 1.0, 10_001), units=10)]
        [0.01, 0.99]

    Source: Hesterberg 2015, "What teachers should know about the bootstrap", expanded percentiles.
    """
    tail = (1 - level) / 2
    if units > 1:
        tail = float(stats.norm.cdf(stats.t.ppf(tail, units - 1) * (units / (units - 1)) ** 0.5))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def difference(
    draws: Draws, guard: str, baseline: str, *, what: str = "area", setting: int = 0, baseline_setting: int = 0
) -> Difference:
    """Guard minus baseline on the same draws, with its interval and the share of draws over 0.

    Args:
        draws: Of one world.
        guard: What is judged.
        baseline: What it is compared with.
        what: `area`, or an axis at chosen settings.
        setting: The guard's.
        baseline_setting: The baseline's.
    """
    (value, own), (other, theirs) = draws.of(what, guard, setting), draws.of(what, baseline, baseline_setting)
    gap = own - theirs
    return Difference(value - other, *interval(gap, units=draws.seeds), float((gap > 0).mean()))
