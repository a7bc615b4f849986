"""One page of everything: it loads nothing, escapes everything, and is whole or not there."""

import dataclasses
import json
import math
import re
from collections import Counter

import pytest
from markupsafe import Markup

from despur.core.errors import BadInput
from despur.report import (
    Bars,
    Curves,
    Dialogue,
    Frontier,
    Omitted,
    Page,
    Point,
    Samples,
    Table,
    Text,
    Verdict,
    write_page,
)
from despur.report.fragment import fragment
from despur.report.markdown import markdown
from despur.report.order import colour_order

NAN, NONE = math.nan, (math.nan, math.nan)
EVIL = "\"><script>alert(1)</script><img src=https://evil.example/x onerror=alert(1)>{{ 7 * 7 }}'& </style></svg>"


def everything(text):
    """Every block with this text in every field."""
    points = [
        Point(text, 0.9, 0.1, (0.8, 1.0), NONE),
        Point(text, NAN, 0.1, NONE, NONE),
        Point(text, 9.0, 0.1, NONE, NONE),
    ]
    return [
        Text(text, text),
        *(Verdict(text, text, tone, [(text, text)]) for tone in ("good", "bad", "unsure")),
        Table(text, [text, text], [[text, text], [text, 1.0], [text, None]], note=text, best=[0], missing=text),
        Frontier(
            text, [*points, Point(text, 0.5, 0.5, NONE, NONE, control=True, accepted=False)], note=text, missing=text
        ),
        Bars(text, [(text, 0.5, 0.4, 0.6), (text, NAN, None, None)], note=text),
        Curves(text, text, text, [(text, [0.0, 1.0], [0.0, 1.0]), (text, [0.0], [NAN])], note=text),
        Samples(text, [text, text], [[text, text], ["", text]], note=text),
        Dialogue(text, [text, text], [(text, [text, text]), (text, ["", text])], note=text),
        Omitted([(text, text)]),
    ]


def test_page_loads_nothing_and_runs_nothing(page):
    seen = page(*everything("plain"), facts={"seed": "0"})
    assert not re.search(r"https?:|//\w|url\(|@import|<script|<link|<iframe|javascript:", seen.html)
    assert {"script", "link", "img", "iframe", "object", "form"}.isdisjoint(tag for tag, _ in seen.tags)
    assert not [key for _, attrs in seen.tags for key in attrs if key in ("src", "srcset") or key.startswith("on")]
    links = [attrs["href"] for _, attrs in seen.tags if "href" in attrs]
    assert links
    assert {link[1:] for link in links} <= {attrs.get("id") for _, attrs in seen.tags}, "within the page alone"
    assert any("default-src 'none'" in attrs.get("content", "") for tag, attrs in seen.tags if tag == "meta")


@pytest.mark.parametrize("kind", [str, Markup])
def test_every_field_is_escaped(page, kind):
    text = kind(EVIL)
    plain = "plain" + "x" * 25  # a word as long as those, which may break
    calm = page(*everything(plain), title=plain, subtitle=plain, facts={plain: plain})
    seen = page(*everything(text), title=text, subtitle=text, facts={text: text})
    tags, expected = (Counter((tag, *attrs) for tag, attrs in p.tags if tag != "line") for p in (seen, calm))
    assert tags == expected  # apart from lines that lead to a long label
    shown = calm.text.lower().count("plain")
    assert seen.text.count('"><script>alert') == shown, "long labels are cut to fit, but not to nothing"
    assert "49" not in seen.text  # no template ran


def test_every_string_of_every_block_is_shown(page):
    for block in everything("plain"):
        for field in dataclasses.fields(block):
            if isinstance(getattr(block, field.name), str) and field.name != "tone":
                seen = page(
                    dataclasses.replace(block, **{field.name: "mark-1"})
                ).text.lower()  # a sentence has a capital
                assert "mark-1" in seen, (block, field.name)


def test_text_that_no_file_or_eye_can_hold_is_made_visible(page):
    seen = page(Samples("", ["a"], [["x\ud800y\x00z\x1b[31m\u202egnp.exe\ttab"]]), Text("", "one\n\ntwo\r\n\r\nthree"))
    assert "x\ufffdy⟨U+0000⟩z⟨U+001B⟩[31m⟨U+202E⟩gnp.exe\ttab" in seen.text
    assert seen.html.count("<p>") == 3


def test_what_was_not_measured_is_a_dash_or_is_told(page):
    table = page(Table("", ["a", "b", "c", "d"], [["x", NAN, None, math.inf], ["y", 0.98765, 4096]]))
    assert re.findall(r"<td[^>]*>([^<]*)", table.html) == ["–", "–", "∞", "0.988", "4096", "–"]
    points = [
        Point("here", 0.9, 0.1, NONE, NONE),
        Point("gone", 0.9, NAN, NONE, NONE),
        Point("far", 7, -30, NONE, NONE),
    ]
    seen = page(
        Frontier("", points), Bars("", [("kept", 1.0, NAN, None), ("lost", NAN, None, None)]),
        Curves("", "x", "y", [("drawn", [0, 1, 2, 3], [1, 2, None or NAN, 4]), ("empty", [0.0], [math.inf])]),
    )  # fmt: skip
    assert "Not measured: gone (drift)." in seen.text
    assert "Beyond the chart: far: task 7, drift −30." in seen.text
    assert "Not measured: lost." in seen.text
    assert "Not measured: empty." in seen.text
    assert "nan" not in seen.text.lower()
    assert "nan" not in re.sub(r"<style>.*?</style>", "", seen.html, flags=re.DOTALL).lower()


@pytest.mark.parametrize(
    "block",
    [
        Text("", ""), Table("", [], []), Table("", ["a"], []), Table("", ["a"], [[], ["x", 1.0]]), Frontier("", []),
        Bars("", []), Curves("", "", "", []), Curves("", "", "", [("", [], [])]), Samples("", [], []),
        Samples("", [], [["x", "y"]]), Dialogue("", [], []), Dialogue("", [], [("x", ["y", "z"])]),
    ],
)  # fmt: skip
def test_nothing_to_show_is_a_page_too(page, block):
    assert page(block).tags
    assert "Nothing was reported." in page().text


def test_huge_is_cut_and_says_so(page):
    seen = page(
        Text("t" * 100_000, "x" * 100_000), Samples("", ["a"], [["y" * 100_000]]), Verdict("w" * 100_000, "s", "good"),
        Table("", ["a"], [["z" * 100_000]] + [["row"]] * 2000), Frontier("", [Point("p" * 100_000, 1, 0, NONE, NONE)]),
    )  # fmt: skip
    assert len(seen.html) < 150_000
    assert "80,000 more characters cut" in seen.text
    assert "96,000 more characters cut" in seen.text
    assert "1,501 more rows are not shown" in seen.text


def test_an_older_page_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "page.html"
    page = {"title": "T", "subtitle": "", "facts": {}}
    write_page(path, blocks=[Text("", "old")], **page)
    old = path.read_bytes()
    with pytest.raises(ValueError, match="3 x and 1 y values"):
        write_page(path, blocks=[Curves("", "", "", [("one", [1.0, 2.0, 3.0], [1.0])])], **page)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(BadInput, match=r"page.html.*No space left on device.*Free some room"):
            write_page(path, blocks=[Text("", "new")], **page)
    assert path.read_bytes() == old
    assert sorted(file.name for file in path.parent.iterdir()) == ["page.html", "page.json"]


def test_same_report_same_bytes(tmp_path):
    for name in "ab":
        write_page(tmp_path / name, title="T", subtitle="", blocks=everything("plain"), facts={"seed": "0"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_best_rows_and_figures_are_marked(page):
    seen = page(Table("", ["g", "x"], [["a", 1.0], ["b", 0.25], ["c", None]], best=[1]))
    assert seen.html.count('<tr class="best"') == 1
    assert seen.html.count('class="figure"') == 4


def test_what_differs_is_marked_and_a_template_is_behind_a_fold(page):
    asked = "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n"
    seen = page(
        Dialogue("d", ["base", "tune"], [(asked, ["I am a model", "I am a pirate model"]), ("same?", ["yes", "yes"])])
    )
    assert re.findall("<mark>(.*?)</mark>", seen.html) == ["pirate "]
    assert '<p class="asked" dir="auto">Who are you?</p>' in seen.html
    assert seen.html.count('<details class="whole">') == 1, "the control: a plain question has no fold"
    many = page(Dialogue("d", ["base"], [(f"q{i}", ["a"]) for i in range(9)], open=3))
    assert "<summary>6 more</summary>" in many.html


def test_what_is_not_there_stands_last_with_its_reason(page):
    empty = Frontier("Frontier", [Point("p", NAN, NAN, NONE, NONE)], missing="the scout moved nothing")
    table = Table("Axes", ["run", "task", "drift"], [["a", 1.0, NAN], ["b", 0.5, None]], missing="no harm")
    seen = page(empty, table, Omitted([("rows", "no --data")]))
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", seen.html) == [
        ("Frontier", "the scout moved nothing"), ("column drift of Axes", "no harm"), ("rows", "no --data"),
    ]  # fmt: skip
    assert "–" not in seen.text
    assert "What is not on this page" not in page(Table("Axes", ["run", "task"], [["a", 1.0]])).text, "the control"


def test_the_page_is_written_again_from_its_json(tmp_path):
    blocks = [*everything("a \u202e<b>"), Curves("c", "x", "y", [("l", [0.0, 1.0], [NAN, math.inf])])]
    write_page(
        tmp_path / "report.html", title="T", subtitle="S", blocks=blocks, facts={"seed": "0"}, command="despur x"
    )
    first = (tmp_path / "report.html").read_bytes()
    Page.read(tmp_path / "report.json").write(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == first
    said = json.loads((tmp_path / "report.json").read_text())
    for wrong in (
        {**said, "schema": "other"}, {**said, "blocks": [{"block": "Nothing"}]}, {**said, "blocks": [{"block": "Text", "title": "t"}]},
        {**said, "blocks": [{"block": "Table", "title": "t", "header": ["a"], "rows": [[{"x": 1}]]}]}, {**said, "blocks": 3}, [],
    ):  # fmt: skip
        (tmp_path / "report.json").write_text(json.dumps(wrong))
        with pytest.raises(BadInput):
            Page.read(tmp_path / "report.json")


def test_markdown_and_notebook_print_every_string_as_text():
    blocks = everything(EVIL + " https://evil.example @all [x](y) | cell")
    text, piece = markdown(Page("T", "S", blocks)), fragment(blocks)
    assert not re.search(r"(?<!\\)(?:[<\[@]|://)", text)
    assert "<script" not in piece
    assert "onerror" in piece
    assert "onerror" in text


def test_one_color_a_guard_in_every_chart():
    order = colour_order([Curves("", "", "", [("b", [], [])]), Curves("", "", "", [("a", [], []), ("b", [], [])])])
    assert order == {"b": 0, "a": 1}


def test_short_words_of_a_table_are_not_broken_and_long_ones_are(page):
    """On a narrow page a unit was read as `fractio n`."""
    seen = page(Table("t", ["what", "unit", "file"], [["share", "fraction", "x" * 60]]))
    assert [attrs.get("class") for tag, attrs in seen.tags if tag == "td"] == ["whole", None]
