"""Inline SVG: elements with every text and attribute escaped, and the scale of an axis."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from despur.report.blocks import Number
from despur.report.text import room, show

WIDE, NARROW = 680.0, 340.0  # a chart is drawn twice, for a desk and for a phone; the page shows the one that fits
LABEL, TICK = 13.0, 12.0  # font sizes, as in page.css


@dataclass(frozen=True)
class Drawing:
    """A chart in both widths, and what stands under it.

    Args:
        wide: For a desk and for paper.
        narrow: For a phone.
        legend: Glyph and meaning.
        key: Glyph and name, where names are not in the chart itself.
        key_on_wide: Whether the wide one needs the key, too.
        nothing: Whether there is nothing to draw.
        missing: What could not be drawn.
        beyond: What lies outside the axes.
    """

    wide: Markup
    narrow: Markup
    legend: Sequence[tuple[Markup, str]] = ()
    key: Sequence[tuple[Markup, str]] = ()
    key_on_wide: bool = False
    nothing: bool = False
    missing: Sequence[str] = ()
    beyond: Sequence[str] = ()


def tag(name: str, *children: str, **attributes: str | Number) -> Markup:
    """One element.

    Example:
        >>> str(tag("text", "<b>", class_="label", x=1.25))
        '<text class="label" x="1.2">&lt;b&gt;</text>'
    """
    parts = [
        f'{key.rstrip("_").replace("_", "-")}="{escape(value if isinstance(value, str) else f"{round(value, 1):g}")}"'
        for key, value in attributes.items()
    ]
    return Markup(f"<{' '.join([name, *parts])}>") + Markup("").join(escape(c) for c in children) + Markup(f"</{name}>")


def tick(text: str, x: float, y: float, width: float) -> Markup:
    """Write a number under a place on the x axis, shifted where it would leave the chart."""
    half = room(text, TICK) / 2
    anchor = "start" if x < half else "end" if x + half > width else "middle"
    return tag("text", text, class_="tick", x=x, y=y, text_anchor=anchor)


def glyph(*marks: Markup, width: float = 16.0) -> Markup:
    """Set marks drawn around (8, 8) into a line of text."""
    return tag("svg", *marks, class_="glyph", viewBox=f"0 0 {width:g} 16", width=width, height=16.0, aria_hidden="true")


def canvas(ident: str, width: float, height: float, title: str, description: str, *children: str) -> Markup:
    """One chart; `description` says in words what it shows."""
    head = (tag("title", title, id=f"{ident}-t"), tag("desc", description, id=f"{ident}-d"))
    return tag(
        "svg", *head, *children, class_="chart", role="img", viewBox=f"0 0 {width:g} {height:g}",
        aria_labelledby=f"{ident}-t {ident}-d",
    )  # fmt: skip


def both(draw: Callable[[str, float], Markup], ident: str) -> tuple[Markup, Markup]:
    """Draw for a desk and for a phone."""
    return draw(f"{ident}w", WIDE), draw(f"{ident}n", NARROW)


@dataclass(frozen=True)
class Scale:
    """Values low..high onto positions start..end; ends of the axis are never exceeded.

    Args:
        low: Smallest value.
        high: Largest.
        start: Position of the smallest.
        end: Position of the largest.
    """

    low: Number
    high: Number
    start: Number
    end: Number

    @classmethod
    def over(cls, values: Sequence[Number], start: Number, end: Number, pad: float = 0.04) -> "Scale":
        """Cover all values, with room at both ends."""
        low, high = min(values, default=0.0), max(values, default=1.0)
        margin = (high - low) * pad if high > low else max(abs(high), 1.0) * 0.1
        return cls(low - margin, high + margin, start, end)

    def __call__(self, value: Number) -> float:
        """Where a value lies."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return float(self.start + share * (self.end - self.start))

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round values on the axis, at most so many, and what to write at them.

        Example:
            >>> [text for _, text in Scale(-0.1, 1.1, 0, 1).ticks(6)]
            ['0', '0.2', '0.4', '0.6', '0.8', '1.0']
        """
        span = self.high - self.low
        unit = 10.0 ** math.floor(math.log10(span / most))
        step = next(unit * m for m in (1, 2, 5, 10, 20) if span / (unit * m) < most + 1e-6)
        values = [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        decimals = max(0, -math.floor(math.log10(step)))
        plain = decimals <= 4 and max(abs(self.low), abs(self.high)) < 1e6
        return [(v, f"{v:.{decimals if v else 0}f}".replace("-", "−") if plain else show(float(v))) for v in values]
