"""No label leaves its chart or lies on another, whatever the numbers are."""

import itertools
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from despur.report import Bars, Curves, Frontier, Heat, Point

NAN, NONE = math.nan, (math.nan, math.nan)


@pytest.mark.parametrize("low", [-1e99, -5.0, 0.0, 3.0, 1e-9])
def test_one_value_is_a_chart_too(page, low):
    seen = page(
        Frontier("", [Point("only", low, 0.1, (low, 1.0), NONE)]), Bars("", [("b", low, low, 1.0)]),
        Curves("", "x", "y", [("c", [low], [low])]),
    )  # fmt: skip
    assert_inside(seen)


LONG = "a name that is far too long to stand beside a point, a bar or a line, WWWWWWWWWWWWWWWWWWWW"
SPREAD = st.floats(-0.3, 1.4) | st.sampled_from([0.0, 1.0, 0.98, 5.0, -7.0, NAN])
NAMES = st.sampled_from(["base", "naive", "grasp", "grasp, random subspace", "avert, permuted", "日本語", LONG])


@settings(max_examples=10, deadline=None)
@given(points=st.lists(st.builds(Point, NAMES, SPREAD, SPREAD, st.just((0.2, 1.1)), st.just((-0.1, 0.3))), max_size=12))
def test_labels_of_a_frontier_lie_inside_and_apart(page, points):
    seen = page(Frontier("", points))
    drawn = [p for p in points if not math.isnan(p.task) and not math.isnan(p.drift)]
    assert len(seen.charts) == (2 if drawn else 0)
    assert_inside(seen)
    for chart in seen.charts:
        boxes = [box for kind, box in seen.boxes(chart) if kind != "axis"]
        for a, b in itertools.combinations(boxes, 2):
            assert a[0] >= b[2] - 0.1 or b[0] >= a[2] - 0.1 or a[1] >= b[3] - 0.1 or b[1] >= a[3] - 0.1
    for chart, wide in zip(seen.charts, (True, False), strict=False):
        own = [attrs for attrs, _ in chart[1] if "label" in attrs["class"].split()]
        assert len(own) == len(drawn), f"every point has its label, {wide=}"


@pytest.mark.parametrize("at", [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_fourteen_long_names_at_one_place_all_find_room(page, at):
    for chart in page(Frontier("", [Point(LONG, *at, NONE, NONE)] * 14)).charts:
        assert sum("label" in attrs["class"].split() for attrs, _ in chart[1]) == 14


def test_very_many_points_are_numbered(page):
    seen = page(Frontier("", [Point(f"run {i}", i / 50, 1 - i / 50, NONE, NONE) for i in range(50)]))
    assert_inside(seen)
    assert '<ul class="key">' in seen.html
    assert "run 49: task 0.980, drift 0.020" in seen.text


def test_labels_of_bars_and_curves_lie_inside(page):
    names = ["short", LONG, "up\nand\tdown", "日本語" * 20]
    values = [[-1234.5, 1e-7, 0.0], [0.1, 1e6, -1e9], [1.0, 1.0, 1.0], [0.123456, NAN, 0.5]]
    for row in values:
        bars = [(name, row[i % 3], row[0] - 1, row[0] + 1) for i, name in enumerate(names * 5)]
        lines = [(f"{name}{k}", [0.0, 1e4, 2.5e4], [v + k for v in row]) for k in range(6) for name in names]
        assert_inside(page(Bars("", bars), Curves("", LONG * 2, LONG * 2, lines[:4]), Curves("", "x", "y", lines)))


def assert_inside(seen):
    for chart in seen.charts:
        _, _, width, height = map(float, chart[0]["viewbox"].split())
        for kind, (left, top, right, bottom) in seen.boxes(chart):
            assert left >= -1, (kind, left)
            assert right <= width + 1, (kind, right)
            assert top >= -1, (kind, top)
            assert bottom <= height + 1, (kind, bottom)


def test_a_spike_in_a_long_line_survives(page):
    ys = [0.0] * 50_000
    ys[31_337] = 9.0
    seen = page(Curves("", "x", "y", [("one", list(map(float, range(50_000))), ys)]))
    assert len(seen.html) < 60_000
    line = max(re.findall(r'<path d="M([^"]+)"', seen.html), key=len)
    assert min(float(y) for y in re.findall(r" (\d+\.\d)", line)) < 60


@settings(max_examples=10, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=70), across=st.integers(1, 70), size=SPREAD)
def test_names_of_a_heat_lie_inside(page, names, across, size):
    values = [[size * (j - 1) for j in range(across)] for _ in names]
    seen = page(Heat("", names, [str(j) for j in range(across)], values))
    assert len(seen.charts) == (0 if math.isnan(size) else 2)
    assert_inside(seen)


def test_a_heat_shades_by_size_and_sign_and_leaves_no_value_empty(page):
    seen = page(Heat("h", ["a", "b"], ["x", "y"], [[3.0, -1.5], [None, NAN]], deepest=3.0))
    marks = [
        (attrs["class"], attrs["fill-opacity"], attrs["d"].count("M")) for tag, attrs in seen.tags if tag == "path"
    ]
    assert marks == [("heat down", "0.500", 1), ("heat gone", "1.000", 2), ("heat up", "1.000", 1)] * 2, "once a width"
    assert "from −3.00 to 3.00, 2 cells empty" in seen.text
    assert "hnothing of it was measured" in page(Heat("h", ["a"], ["x"], [[NAN]])).text
    assert "10 more rows" in page(Heat("h", ["a"] * 70, ["x"], [[1.0]] * 70)).text
