"""After the guard: how hard to push, how fast it comes back, what rank does; closed forms and what is not attained."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from despur.core.errors import BadInput
from despur.judge import by_seed, ladder, rise
from despur.measure import recovery, smallest_push


@given(st.floats(0.05, 30.0), st.floats(0.2, 3.0))
def test_smallest_push_inverts_a_drift_that_rises(push, power):
    found = smallest_push(lambda s: s**power, push**power, most=32.0)
    assert found.value == pytest.approx(push, rel=0.021)


def test_push_that_is_not_needed_or_not_enough():
    assert smallest_push(lambda s: 5.0 + s, 4.0, most=8.0).value == 0
    found = smallest_push(lambda s: 1 - math.exp(-s), 2.0, most=8.0)
    assert math.isnan(found.value)
    assert "short of 2" in found.reason
    with pytest.raises(BadInput, match="positive"):
        smallest_push(lambda s: s, 1.0, most=0.0)


def test_first_crossing_of_a_drift_that_falls_again_and_few_looks():
    looks = []

    def hump(s):
        looks.append(s)
        return 4 * s * (2 - s)  # 1 is reached at 0.134, lost again after 1.866

    assert smallest_push(hump, 1.0, most=16.0).value == pytest.approx(1 - 0.75**0.5, rel=0.02)
    assert len(looks) < 22


def test_the_scan_begins_at_the_smallest_push():
    there = lambda s: float(0.06 < s < 0.07)  # noqa: E731
    assert smallest_push(there, 0.5, most=16.0).value <= 16 / 2**8
    assert math.isnan(smallest_push(there, 0.5, most=16.0, scans=7).value), "missed, as it says"


def test_recovery_tells_removed_from_hidden():
    base = lambda s: -3.0 + 2.0 * s  # noqa: E731
    far = {"base_drift": -3.0, "naive_drift": 3.0, "most": 16.0}
    assert recovery(base, base, **far).ratio == pytest.approx(1), "indistinguishable from base"
    hidden = recovery(lambda s: -3.0 + 20.0 * s, base, **far)
    assert hidden.target == 0
    assert hidden.ratio == pytest.approx(0.1, rel=0.05)
    assert recovery(lambda s: 1.0 + s, base, **far).ratio == 0, "the drift is there without a push"
    held = recovery(lambda s: -3.0, base, **far)
    assert math.isnan(held.ratio)
    assert held.push.reason
    with pytest.raises(BadInput, match="nothing to bring back"):
        recovery(base, base, base_drift=1.0, naive_drift=0.5, most=16.0)


def test_rise():
    found = rise([0, 100, 300], [0.0, 0.5, 0.9], level=0.7)
    assert (found.start, found.end, found.reached.value) == (0.0, 0.9, pytest.approx(200))
    assert found.area == pytest.approx((100 * 0.25 + 200 * 0.7) / 300)
    assert rise([0, 1], [0.8, 0.9]).reached.value == 0
    assert rise([0, 10], [0.0, 0.3]).reached.reason == "0.3 at most within 10 steps"
    for steps, drift in (([0], [0.0]), ([0, 0], [0.0, 1.0]), ([0, 1], [0.0])):
        with pytest.raises(BadInput, match="rising"):
            rise(steps, drift)


def test_by_seed_has_a_t_interval_and_tells_what_was_not_attained():
    x = np.array([0.9, 1.0, 1.1, math.nan])
    found = by_seed("recovery", x, control=[0.1, 0.3], control_name="random direction", unit="push of base")
    assert (found.n, found.spec["not_attained"], found.control) == (3, 1, pytest.approx(0.2))
    assert found.high - found.value == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert math.isnan(by_seed("x", [math.nan]).value)
    assert math.isnan(by_seed("x", [1.0]).low)
    rng = np.random.default_rng(0)
    hits = [r.low <= 2 <= r.high for r in (by_seed("x", rng.normal(2, 1, size=8)) for _ in range(400))]
    assert 0.92 <= np.mean(hits) <= 0.98


def test_ladder_pairs_ranks_by_seed():
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 5, size=8)  # seeds differ by far more than ranks do
    values = np.arange(4.0)[:, None] * 0.1 + seeds + rng.normal(0, 0.02, size=(4, 8))
    found = ladder([1, 2, 4, 8], values)
    assert found.slope == pytest.approx(0.1, abs=0.02)
    assert 0 < found.slope_low < found.slope_high < 0.15
    shuffled = np.stack([rng.permutation(row) for row in values])
    lost = ladder([1, 2, 4, 8], shuffled)
    assert lost.slope_low < 0 < lost.slope_high, "the control: with the pairing lost nothing can be said"
    assert len(found.means) == 4
    with pytest.raises(BadInput, match="rising ranks"):
        ladder([2, 1], np.zeros((2, 3)))
