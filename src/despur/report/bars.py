"""Horizontal bars: what is judged, and what it is compared with."""

from collections.abc import Sequence

from markupsafe import Markup

from despur.report.blocks import Bars, Number
from despur.report.svg import LABEL, TICK, WIDE, Drawing, Scale, both, canvas, tag, tick
from despur.report.text import clean, fit, interval, measured, room

MOST = 60  # bars on one page; more are a table's work
Bar = tuple[str, Number, Number | None, Number | None]


def draw_bars(block: Bars, ident: str) -> Drawing:
    """Draw them, the first in colour; what was not measured is named below."""
    bars = [bar for bar in block.bars if measured(bar[1])]
    missing = [clean(bar[0]) for bar in block.bars if not measured(bar[1])]
    cut = [f"{len(bars) - MOST} more bars"] if len(bars) > MOST else []
    wide, narrow = both(lambda ident, width: _draw(bars[:MOST], clean(block.title), ident, width), ident)
    return Drawing(wide, narrow, nothing=not bars, missing=missing, beyond=cut)


def _draw(bars: Sequence[Bar], title: str, ident: str, width: float) -> Markup:
    wide = width == WIDE
    step, thick = (24.0, 12.0) if wide else (38.0, 10.0)
    values = [interval(value, low, high) for _, value, low, high in bars]
    side = max((room(text, TICK) for text in values), default=0.0)
    names = min(max((room(clean(bar[0]), LABEL) for bar in bars), default=0.0), 230.0) if wide else width - side - 12
    left, right = (names + 14, width - side - 16) if wide else (1.0, width - 3)
    top, bottom = 8.0, 8.0 + step * max(len(bars), 1)
    ends = [v for _, value, low, high in bars for v in (value, low, high) if v is not None and measured(v)]
    on = Scale.over([0.0, *ends], left, right, pad=0.02)
    if min(ends, default=0.0) >= 0:
        on = Scale(0.0, on.high, left, right)
    out = list[Markup]()
    for value, text in on.ticks(6 if wide else 4):
        x = on(value)
        out.append(tag("line", class_="rule" if value == 0 else "grid", x1=x, x2=x, y1=top, y2=bottom))
        out.append(tick(text, x, bottom + 17, width))
    for i, ((name, value, low, high), text) in enumerate(zip(bars, values, strict=True)):
        y = top + step * i + (step / 2 if wide else step - thick)
        line = y + 4.5 if wide else y - thick / 2 - 5
        out.append(
            tag("text", fit(clean(name), LABEL, names), class_="label" if i == 0 else "label faint", x=0.0, y=line)
        )
        out.append(tag("text", text, class_="tick", x=width - side if wide else width, y=line,
                       text_anchor="start" if wide else "end"))  # fmt: skip
        x, x0 = on(value), on(0)
        body = tag(
            "rect", class_="bar" if i == 0 else "bar other", x=min(x, x0), y=y - thick / 2,
            width=max(abs(x - x0), 0.5), height=thick, rx=1.5,
        )  # fmt: skip
        out.append(tag("g", tag("title", f"{clean(name)}: {text}"), body))
        if low is not None and high is not None and measured(low) and measured(high):
            a, b = on(low), on(high)
            whisker = f"M{a:.1f} {y:.1f}H{b:.1f}M{a:.1f} {y - 3:.1f}v6M{b:.1f} {y - 3:.1f}v6"
            out += [tag("path", class_="span halo", d=whisker), tag("path", class_="span", d=whisker)]
    words = (
        "; ".join(f"{clean(bar[0])}: {text}" for bar, text in zip(bars, values, strict=True)) or "nothing was measured"
    )
    return canvas(ident, width, bottom + 26, title or "Bars", f"{words}.", *out)
