"""Intervals cover what they say they cover."""

import numpy as np
import pytest

from despur.core.errors import BadInput
from despur.judge import kept_within, mean_interval, rate_interval


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = {0.95: 0, 0.5: 0}
    for i in range(300):
        x = rng.normal(3, 2, size=60)
        assert mean_interval(x, draws=400, seed=i) == mean_interval(x, level=0.95, draws=400, seed=i), "unless asked"
        for level in covered:
            mean, low, high = mean_interval(x, level=level, draws=400, seed=i)
            assert mean == pytest.approx(x.mean())
            covered[level] += low <= 3 <= high
    assert 0.91 <= covered[0.95] / 300 <= 0.98
    assert 0.42 <= covered[0.5] / 300 <= 0.58


def test_values_of_one_cluster_are_not_counted_as_independent():
    rng = np.random.default_rng(1)
    units = rng.normal(size=50)
    width = lambda ends: ends[2] - ends[1]  # noqa: E731
    alone = width(mean_interval(units))
    repeated = np.repeat(units, 9)
    assert width(mean_interval(repeated, groups=np.repeat(np.arange(50), 9))) == pytest.approx(alone, rel=0.1)
    assert width(mean_interval(repeated)) == pytest.approx(alone / 3, rel=0.15), "the control: it would be too narrow"
    assert mean_interval(units, seed=1) != mean_interval(units)
    assert mean_interval(units, seed=1) == mean_interval(units, seed=1)


def test_clusters_weigh_by_their_size():
    values, groups = [1.0] * 90 + [0.0] * 10, [i // 9 for i in range(90)] + list(range(10, 20))
    mean, low, high = mean_interval(values, groups=groups)  # ten clusters of nine ones, ten of a single zero
    assert mean == pytest.approx(0.9)
    assert low < 0.9 < high < 1
    assert low > 0.75, "the mean over values, not over clusters (0.5)"


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"), [(23, 24, 0.798, 0.993), (0, 20, 0.0, 0.161), (20, 20, 0.839, 1.0)]
)
def test_wilson(successes, n, low, high):
    assert rate_interval(successes, n) == pytest.approx((successes / n, low, high), abs=6e-4)


def test_kept_needs_to_be_shown():
    rng = np.random.default_rng(2)
    small = 0.001 * rng.normal(size=30)
    assert kept_within(small, margin=0.01) < 1e-6
    assert kept_within(small + 0.02, margin=0.01) > 0.99
    assert kept_within(0.1 * rng.normal(size=4), margin=0.01) > 0.05, "too few and too noisy: not shown"
    rejected = sum(kept_within(rng.normal(0.5, 1, size=20), margin=0.5) < 0.05 for _ in range(300))
    assert rejected / 300 < 0.09, "at the margin itself it says 'kept' in 5 % of the cases at most"
    assert kept_within([0.0, 0.0], margin=0.01) == 0
    assert kept_within([0.5, 0.5], margin=0.01) == 1
    assert kept_within([0.0], margin=0.01) == 1, "of one difference no spread is known"
    for bad in ([], [0.0, float("nan")]):
        with pytest.raises(BadInput, match="finite differences"):
            kept_within(bad, margin=0.01)
    with pytest.raises(BadInput, match="margin above 0"):
        kept_within([0.0, 0.1], margin=0.0)
