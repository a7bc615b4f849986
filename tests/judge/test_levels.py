"""What is called a 95 % interval is one: each beside the closed form for a mean of normal values, and 50 % and 90 % are refused."""

import numpy as np
import pytest
from scipy import stats

from despur.judge import area_of_one, by_seed, four_axes, interval, ladder, mean_interval, rate_interval

N, SD = 400, 0.1
X = np.random.default_rng(0).normal(0.5, SD, N)
LOW, HIGH = {"p": np.zeros(N)}, {"p": np.ones(N)}
BASE, NAIVE = {"task": LOW, "drift": LOW}, {"task": HIGH, "drift": HIGH}
RUN = {"task": {"p": X}, "drift": LOW}


def _ends(report):
    return report.low, report.high


def _slopes():
    found = ladder([1, 2], np.stack([np.zeros(N), X]))
    return found.slope_low, found.slope_high


def _rung():
    found = ladder([1, 2], np.stack([np.zeros(N), X]))
    return found.lows[1], found.highs[1]


INTERVALS = {
    "mean_interval": lambda: mean_interval(X)[1:],
    "interval": lambda: interval(np.random.default_rng(1).normal(X.mean(), SD / N**0.5, 20_000), units=10**6),
    "four_axes": lambda: _ends(four_axes(RUN, base=BASE, naive=NAIVE)["task"]),
    "area_of_one": lambda: _ends(area_of_one(RUN, base=BASE, naive=NAIVE, control=NAIVE, constraints={})),
    "by_seed": lambda: _ends(by_seed("x", X)),
    "ladder, slope": _slopes,
    "ladder, a rank": _rung,
}


def is_of_level(low: float, high: float, level: float) -> bool:
    half = float(stats.norm.ppf((1 + level) / 2)) * X.std() / N**0.5
    return (low, high) == (
        pytest.approx(X.mean() - half, abs=0.1 * half),
        pytest.approx(X.mean() + half, abs=0.1 * half),
    )


@pytest.mark.parametrize("name", INTERVALS)
def test_an_interval_of_no_stated_level_is_one_of_95_percent(name):
    low, high = INTERVALS[name]()
    assert is_of_level(low, high, 0.95)
    assert not is_of_level(low, high, 0.9), "the control: nothing else would pass"
    assert not is_of_level(low, high, 0.5)


def test_so_is_that_of_a_rate():
    z = stats.norm.ppf(0.975)
    half = z * (0.3 * 0.7 / N + z**2 / (4 * N**2)) ** 0.5 / (1 + z**2 / N)  # Wilson 1927
    _, low, high = rate_interval(120, N)
    assert (high - low) / 2 == pytest.approx(half, rel=1e-6)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.99])
def test_a_level_that_is_asked_for_is_the_one_that_is_given(level):
    draws = np.random.default_rng(1).normal(X.mean(), SD / N**0.5, 40_000)
    assert is_of_level(*interval(draws, units=10**6, level=level), level)
    assert is_of_level(*mean_interval(X, level=level, draws=20_000)[1:], level)
