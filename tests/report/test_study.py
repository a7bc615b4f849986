"""Blocks of a comparison: sorted, escaped, drawn inside their charts, and what was not measured is told."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from despur.report import Attainment, Band, Claim, Claims, League, Panel, Panels, Point, Standing

NAN, NONE = math.nan, (math.nan, math.nan)
EVIL = "\"><script>alert(1)</script>{{ 7 * 7 }}'&"
LONG = "a name that is far too long to stand beside a row, a panel or a line, WWWWWWWWWWWWWWWWWWWW"
STAIRS = np.array([[0.8, 0.1], [0.95, 0.3]])


def everything(text, value=0.5):
    rows = [
        Standing(text, text, [(value, value - 0.1, value + 0.1), (NAN, NAN, NAN)], setting=text, seeds=8),
        Standing(text, text, [(NAN, NAN, NAN)] * 2), Standing("c", "", [(0.1, NAN, NAN)], control=True, accepted=False),
    ]  # fmt: skip
    points = [
        Point(text, value, 0.1, NONE, NONE),
        Point(text, NAN, 0.1, NONE, NONE),
        Point(text, 1.0, value, NONE, NONE, True, False),
    ]
    return [
        League(text, [text, "w"], rows, judged=text, note=text),
        Attainment(text, [Band(text, STAIRS, STAIRS * value, np.zeros((0, 2)))], note=text),
        Panels(text, [Panel(text, [(text, points), ("b", points[:1])])] * 4, note=text),
        Claims(text, [Claim(text, text, text, text, "held", text)], note=text),
    ]


def test_every_field_is_shown_as_text(page):
    seen = page(*everything(EVIL))
    assert not re.search(r"https?:|//\w|url\(|@import|<script|<link|<iframe|javascript:", seen.html)
    assert {"script", "link", "img", "iframe", "a", "form"}.isdisjoint(tag for tag, _ in seen.tags)
    assert seen.text.count("<script>alert") > 20
    assert "49" not in re.sub(r"\d\.\d+|\.49", "", seen.text), "no template ran"
    assert "nan" not in re.sub(r"<style>.*?</style>", "", seen.html, flags=re.DOTALL).lower()


@pytest.mark.slow  # of a kind with faster ones
@settings(max_examples=8, deadline=None)
@given(
    value=st.floats(-0.3, 1.4) | st.sampled_from([0.0, 1.0, 9.0, -9.0]), name=st.sampled_from(["avert", LONG, "日本語" * 20]),
    many=st.integers(1, 9),
)  # fmt: skip
def test_labels_lie_inside(page, value, name, many):
    league, attainment, panels, _ = everything(name, value)
    wide = League("", [name] * many, [Standing(name, "", [(value, 0.1, 0.9)] * many)] * 5)
    bands = Attainment("", list(attainment.bands) * many)
    for chart in (seen := page(league, attainment, panels, wide, bands, Panels("", list(panels.panels) * many))).charts:
        _, _, width, height = map(float, chart[0]["viewbox"].split())
        for kind, (left, top, right, bottom) in seen.boxes(chart):
            assert left >= -1, (kind, left)
            assert right <= width + 1, (kind, right)
            assert top >= -1, (kind, top)
            assert bottom <= height + 1, (kind, bottom)


def test_league_is_sorted_and_says_what_it_knows(page):
    rows = [
        Standing("worse", "nothing", [(0.2, 0.1, 0.3)], legitimate=1.0, seeds=8, p=1e-5),
        Standing("unknown", "", [(NAN, NAN, NAN)]), Standing("best", "text", [(0.9, 0.8, 1.0)], drift_at_task=0.1, seeds=8),
        Standing("random", "", [(0.05, 0.0, 0.1)], control=True, seeds=8, p=0.03),
        Standing("void", "", [(0.0, 0.0, 0.0)], accepted=False, seeds=8),
    ]  # fmt: skip
    seen = page(League("", ["w"], rows, judged="best"))
    table = re.sub(r"<svg.*?</svg>", "", seen.html, flags=re.DOTALL)
    names = re.findall(r"<th scope=row[^>]*>([^<]*)", table)
    assert names == ["best", "worse", "random (control)", "void (not accepted)", "unknown"]
    header = re.findall(r'<th scope="col"[^>]*>([^<]*)', table)
    assert header == ["guard", "needs", "area", "drift at task 0.98", "legitimate", "seeds", "p"], (
        "nothing known: no column"
    )
    assert "&lt; 0.001" in table
    assert table.count('<tr class="best"') == 1
    assert "Not measured: unknown." in seen.text
    assert "worse, w: 0.200 [0.100, 0.300]" in seen.text
    bounds = {
        kind: re.findall(rf'<circle class="{kind}" cx="([\d.]+)"', seen.html)[0]
        for kind in ("dot", "dot peer", "dot control")
    }
    assert float(bounds["dot"]) > float(bounds["dot peer"]) > float(bounds["dot control"])


def test_stairs_are_the_edge_of_what_is_attained(page):
    seen = page(Attainment("", [Band("one", STAIRS, STAIRS, STAIRS), Band("none", *[np.zeros((0, 2))] * 3)]))
    assert "half of the seeds attain nothing" in seen.text
    path = re.search(r'<path d="M([^"Z]+)" class="line c0"|<path class="line c0"[^>]*d="M([^"]+)"', seen.html)
    xy = [tuple(map(float, p.split())) for p in (path[1] or path[2]).split("L")]
    assert len(xy) == 5, "right, up, right, up"
    assert all(a[0] == b[0] or a[1] == b[1] for a, b in itertools.pairwise(xy)), "stairs, no slopes"
    assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in itertools.pairwise(xy)), "more task costs more drift"


def test_beyond_six_guards_the_rest_is_grey_and_told(page):
    lines = [(f"g{i}", [Point("", i / 10, 0.5, NONE, NONE), Point("", i / 10, 0.2, NONE, NONE)]) for i in range(9)]
    seen = page(Panels("", [Panel("w", lines)]), Attainment("", [Band(n, STAIRS, STAIRS, STAIRS) for n, _ in lines]))
    assert seen.text.count("3 others") == 2
    assert "g8" in seen.text


@pytest.mark.parametrize("block", [League("", [], []), Attainment("", []), Panels("", []), Claims("", [])])
def test_nothing_to_show_is_a_page_too(page, block):
    assert page(block).tags
