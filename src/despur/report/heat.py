"""A grid of numbers as colours: one hue above zero, another below, nothing where there is no value."""

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from despur.report.blocks import Heat, Number
from despur.report.svg import TICK, WIDE, Drawing, both, canvas, glyph, tag
from despur.report.text import clean, fit, measured, room, show

LEVELS = 8  # shades of each hue
ROWS, COLUMNS = 60, 60  # of one drawing; more are cut, and the page says so


def draw_heat(block: Heat, ident: str) -> Drawing:
    """Draw it, with the largest size as the deepest shade."""
    cells = [list(row[:COLUMNS]) for row in block.values[:ROWS]]
    sizes = [abs(float(v)) for row in cells for v in row if v is not None and measured(v)]
    top = float(block.deepest or max(sizes, default=0.0) or 1.0)
    wide, narrow = both(lambda ident, width: _draw(block, cells, top, ident, width), ident)
    width = max((len(row) for row in block.values), default=0)
    cut = [f"{n - most} more {word}" for n, most, word in
           ((len(block.values), ROWS, "rows"), (width, COLUMNS, "columns")) if n > most]  # fmt: skip
    below = [("down", "below 0")] if any(v is not None and measured(v) and v < 0 for row in cells for v in row) else []
    legend = [
        (glyph(tag("rect", class_=f"heat {hue}", x=1, y=1, width=14, height=14)), text)
        for hue, text in [("up", f"above 0, deepest at {show(top)}"), *below]
    ]
    return Drawing(wide, narrow, legend, nothing=not sizes, beyond=cut)


def _draw(block: Heat, cells: Sequence[Sequence[Number | None]], top: float, ident: str, width: float) -> Markup:
    across = max((len(row) for row in cells), default=1)
    names = [clean(name) for name in block.rows[: len(cells)]]
    high = min(20.0, max(6.0, 560 / max(len(cells), 1)))
    named = high >= 11
    side = min(max((room(n, TICK) for n in names), default=0.0), 0.4 * width) + 8 if named and names else 0.0
    longest = max((room(clean(name), TICK) for name in block.columns[:across]), default=0.0) + 6
    wide = min((width - side) / across, max(34.0 if width == WIDE else 26.0, min(longest, 90.0)))
    heads = [fit(clean(name), TICK, wide - 2) for name in block.columns[:across]]
    head = 18.0 if any(heads) and wide >= 14 else 2.0
    out = list[Markup]()
    if head > 2:
        out += [
            tag("text", text, class_="tick", x=side + wide * (i + 0.5), y=13.0, text_anchor="middle")
            for i, text in enumerate(heads)
        ]
    if named:
        out += [
            tag(
                "text",
                fit(name, TICK, side - 8),
                class_="tick",
                x=side - 8,
                y=head + high * (i + 0.5) + 4,
                text_anchor="end",
            )
            for i, name in enumerate(names)
        ]
    out.append(
        tag(
            "rect",
            class_="heat frame",
            x=side,
            y=head,
            width=wide * across,
            height=high * max(len(cells), 1),
            fill="none",
        )
    )
    for hue, level, d in _paths(cells, top, side, head, wide, high):
        out.append(tag("path", class_=f"heat {hue}", d=d, fill_opacity=f"{level / LEVELS:.3f}"))
    empty = sum(not measured(v) for row in cells for v in row)
    words = f"{len(cells)} rows by {across} columns, from {show(-top)} to {show(top)}, {empty} cells empty"
    return canvas(ident, width, head + high * max(len(cells), 1) + 4, clean(block.title) or "Heat", f"{words}.", *out)


def _paths(
    cells: Sequence[Sequence[Number | None]], top: float, side: float, head: float, wide: float, high: float
) -> Iterator[tuple[str, int, str]]:
    """One path a shade: a thousand cells are a few kilobytes."""
    found: dict[tuple[str, int], list[str]] = {}
    for i, row in enumerate(cells):
        for j, value in enumerate(row):
            if value is None or not measured(value):
                x, y = side + (j + 0.5) * wide, head + (i + 0.5) * high
                found.setdefault(("gone", LEVELS), []).append(f"M{x - 1:.1f} {y:.1f}h2")
            elif level := min(LEVELS, round(LEVELS * abs(float(value)) / top)):
                x, y = side + j * wide, head + i * high
                mark = f"M{x:.1f} {y:.1f}h{wide:.1f}v{high:.1f}h{-wide:.1f}z"
                found.setdefault(("up" if float(value) > 0 else "down", level), []).append(mark)
    for (hue, level), parts in sorted(found.items()):
        yield hue, level, "".join(parts)
