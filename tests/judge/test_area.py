"""The dominated area, what lies on a frontier, and what is never read beyond it."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from despur.judge import areas, attainment, drift_at_task, hypervolume, task_at_drift

NEAR = st.floats(-0.4, 1.4, allow_nan=False)
SETS = st.lists(st.tuples(NEAR, NEAR, st.booleans()), max_size=8)


def brute(rows):
    """Area of the union of [0, t] x [q, 1], cell by cell of the grid that all corners span."""
    xs, ys = sorted({0.0, *(t for t, _ in rows)}), sorted({1.0, *(q for _, q in rows)})
    area = 0.0
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            inside = x0 >= 0 and y1 <= 1 and any(x1 <= t and y0 >= q for t, q in rows)
            area += inside * (x1 - x0) * (y1 - y0)
    return area


@settings(max_examples=200, deadline=None)
@given(SETS)
def test_area_is_the_union_of_rectangles(rows):
    kept = [(t, q) for t, q, ok in rows if ok]
    points, ok = [(t, q) for t, q, _ in rows], [k for _, _, k in rows]
    assert hypervolume(points, kept=ok) == pytest.approx(brute(kept), abs=1e-9)
    t, q = (np.array([p[i] for p in points], dtype=float) for i in (0, 1))
    assert areas(t[None], q[None], np.array(ok, dtype=bool)[None])[0] == pytest.approx(brute(kept), abs=1e-9)


@pytest.mark.parametrize(
    ("points", "area"),
    [
        ([(0.0, 0.0)], 0), ([(1.0, 1.0)], 0), ([(1.0, 0.0)], 1), ([(1.2, -0.1)], 1.32), ([(-0.5, 0.0)], 0), ([(0.5, 1.2)], 0),
        ([], 0), ([(math.nan, 0.0), (0.5, 0.5)], 0.25), ([(0.9, 0.1)] * 3, 0.81), ([(0.5, 0.0), (1.0, 0.5), (0.4, 0.6)], 0.75),
    ],
)  # fmt: skip
def test_known_areas(points, area):
    assert hypervolume(points) == pytest.approx(area)


def test_what_is_not_kept_dominates_nothing():
    assert hypervolume([(1.0, 0.0), (0.5, 0.5)], kept=[False, True]) == pytest.approx(0.25)
    assert hypervolume([(1.0, 0.0)], kept=[False]) == 0


def test_read_off_the_frontier_between_settings_and_never_beyond():
    points = [(0.6, 0.0), (0.9, 0.1), (1.0, 0.3), (0.8, 0.9)]
    assert drift_at_task(points, 0.98).value == pytest.approx(0.26)
    assert drift_at_task(points, 0.3).value == 0, "the least setting learns more than asked"
    assert task_at_drift(points, 0.2).value == pytest.approx(0.95)
    assert task_at_drift(points, 2.0).value == 1, "not more than was seen, however much drift is allowed"
    for reading, word in ((drift_at_task(points, 1.01), "1.000"), (task_at_drift(points, -0.1), "0.000")):
        assert math.isnan(reading.value)
        assert word in reading.reason
    kept = np.array([True, True, False, True])
    assert drift_at_task(points, 0.98, kept=kept).reason == "learns 0.900 of the task at most"
    assert drift_at_task(points, 0.5, kept=np.zeros(4, dtype=bool)).reason == "no setting is accepted"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(NEAR, NEAR), max_size=4), min_size=1, max_size=6),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
def test_attainment_is_what_a_share_of_the_seeds_dominates(sets, share):
    arrays = [np.array(s, dtype=float).reshape(-1, 2) for s in sets]
    corners = attainment(arrays, [share])[share]
    near = 1e-9
    for t, q in [*map(tuple, corners), (0.3, 0.4), (0.9, 0.2), (1.1, 1.1)]:
        reached = sum(any(a >= t - near and b <= q + near for a, b in s) for s in sets)
        told = any(a >= t - near and b <= q + near for a, b in corners)
        assert told == (reached >= share * len(sets) - near)
    assert (np.diff(corners[:, 0]) >= 0).all()
    assert (np.diff(corners[:, 1]) >= 0).all()


def test_a_seed_that_attains_nothing_counts():
    one, nothing = np.array([[0.9, 0.1]]), np.zeros((0, 2))
    assert len(attainment([one, nothing], [0.5])[0.5]) == 1
    assert len(attainment([one, nothing], [0.75])[0.75]) == 0
