"""Intervals: bootstrap for means, Wilson for rates, two one-sided tests for "kept"."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from despur.core.errors import BadInput


def mean_interval(
    values: Sequence[float] | np.ndarray, *, groups: Sequence[int] | np.ndarray | None = None, level: float = 0.95,
    draws: int = 2000, seed: int = 0,
) -> tuple[float, float, float]:  # fmt: skip
    """Mean with a percentile bootstrap interval, clusters resampled whole.

    Args:
        values: One a unit, (n,).
        groups: Cluster of each value (n,); without, each value is its own.
        level: Coverage.
        draws: Bootstrap resamples.
        seed: Seeds them.

    Returns:
        Mean, low, high.

    Example:
        >>> mean_interval([1.0, 1.0, 1.0])
        (1.0, 1.0, 1.0)
    """
    x = np.asarray(values, dtype=float)
    labels = np.arange(len(x)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    sums = np.bincount(labels, weights=x)
    counts = np.bincount(labels)
    picks = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[picks].sum(1) / counts[picks].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(x.mean()), float(low), float(high)


def rate_interval(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float, float]:
    """Rate with its Wilson interval; for 0 of n, quote its upper end with every "removed".

    Example:
        >>> [round(x, 3) for x in rate_interval(23, 24)]
        [0.958, 0.798, 0.993]
    """
    ci = stats.binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
    return successes / n, float(ci.low), float(ci.high)


def kept_within(differences: Sequence[float] | np.ndarray, margin: float) -> float:
    """Return p of two one-sided t-tests that the mean difference lies within +- margin (TOST).

    Declare the margin before the run. A small p is evidence that nothing moved by more than the margin; a large one is evidence of
    neither. It is 1 where there is a single difference, of which no spread is known.

    Raises:
        BadInput: no difference, one that is not finite, or a margin that is not positive.

    Example:
        >>> kept_within([0.001, -0.002, 0.0, 0.001], margin=0.02) < 0.05
        True
    """
    d = np.asarray(differences, dtype=float)
    if d.size == 0 or not np.isfinite(d).all() or not margin > 0:
        raise BadInput(
            f"the test of a margin needs finite differences, one a seed, and a margin above 0; got {d.tolist()} and {margin}. "
            "Leave out what failed"
        )
    if d.size == 1:
        return 1.0
    if np.ptp(d) == 0:
        return 0.0 if abs(d[0]) < margin else 1.0
    above: Any = stats.ttest_1samp(d, -margin, alternative="greater")
    below: Any = stats.ttest_1samp(d, margin, alternative="less")
    return float(max(above.pvalue, below.pvalue))
