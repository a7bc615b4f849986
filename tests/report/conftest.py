"""A page as a browser would see it."""

from html.parser import HTMLParser

import pytest

from despur.report import write_page
from despur.report.text import room

VOID = {"meta", "img", "link", "br", "input"}


class Page(HTMLParser):
    """What a browser would see: elements, text, each chart's labels, and whether all that opens is closed."""

    def __init__(self, html):
        super().__init__()
        self.html, self.open, self.tags, self.charts, self.text = html, [], [], [], ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in VOID:
            self.open.append((tag, attrs))
        if self.is_in("svg", "chart"):
            if tag == "svg" and "chart" in attrs.get("class", ""):
                self.charts.append((attrs, []))
            if tag == "text":
                self.charts[-1][1].append((attrs, ""))

    def is_in(self, name, kind=""):
        return any(tag == name and kind in attrs.get("class", "") for tag, attrs in self.open)

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        self.text += "" if self.is_in("style") else data
        if self.is_in("svg", "chart") and self.is_in("text"):
            attrs, text = self.charts[-1][1][-1]
            self.charts[-1][1][-1] = (attrs, text + data)

    def boxes(self, chart):
        """Each text's attributes and rectangle in the broadest font."""
        for attrs, text in chart[1]:
            size = 13 if {"label", "axis"} & set(attrs["class"].split()) else 12
            width, x, y = room(text, size), float(attrs["x"]), float(attrs["y"])
            left = {"start": x, "middle": x - width / 2, "end": x - width}[attrs.get("text-anchor", "start")]
            yield attrs["class"], (left, y - 0.8 * size, left + width, y + 0.25 * size)


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    """Write blocks, and read the page back."""

    def write(*blocks, title="T", subtitle="S", facts=None):
        path = tmp_path_factory.mktemp("report") / "page.html"
        write_page(path, title=title, subtitle=subtitle, blocks=blocks, facts=facts or {})
        return Page(path.read_text(encoding="utf-8"))

    return write
