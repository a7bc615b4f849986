"""Lines over a common axis, each named at its end."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from despur.report.blocks import Curves, Number
from despur.report.svg import LABEL, TICK, WIDE, Drawing, Scale, both, canvas, glyph, tag, tick
from despur.report.text import clean, fit, measured, room, show

COLOURS, DASHES = 6, ("", "7 4", "2 4", "9 4 2 4")
POINTS, LINE, NAMED = 600, 17.0, 18  # points of a line; height of a name; lines that can be named at their ends


@dataclass(frozen=True)
class _Line:
    index: int
    name: str
    pieces: Sequence[Sequence[tuple[float, float]]]

    @property
    def style(self) -> dict[str, str]:
        return {"class_": f"line c{self.index % COLOURS}", "stroke_dasharray": DASHES[self.index % len(DASHES)]}


def draw_curves(block: Curves, ident: str, order: Mapping[str, int]) -> Drawing:
    """Draw them; long ones are thinned to the smallest and largest of each stretch, so no spike is lost.

    Raises:
        ValueError: a line has more x than y values, or fewer.
    """
    lines, missing = list[_Line](), list[str]()
    for name, xs, ys in block.lines:
        if len(xs) != len(ys):
            raise ValueError(f"line {name!r} has {len(xs)} x and {len(ys)} y values; give as many of each")
        pieces = _pieces(xs, ys)
        if pieces:
            lines.append(_Line(order[name], clean(name), pieces))
        else:
            missing.append(clean(name))
    wide, narrow = both(lambda ident, width: _draw(block, lines, ident, width), ident)
    key = [(glyph(tag("path", d="M2 8H30", fill="none", **line.style), width=32.0), line.name) for line in lines]
    return Drawing(wide, narrow, key=key, nothing=not lines, key_on_wide=len(lines) > NAMED, missing=missing)


def _pieces(xs: Sequence[Number], ys: Sequence[Number]) -> list[list[tuple[float, float]]]:
    """Cut a line at its gaps, and thin the pieces."""
    points = [(float(x), float(y)) if measured(x) and measured(y) else None for x, y in zip(xs, ys, strict=True)]
    pieces = [[p for p in run if p] for there, run in itertools.groupby(points, key=bool) if there]
    stretch = -(-2 * sum(map(len, pieces)) // POINTS)
    return [_thin(piece, stretch) for piece in pieces] if stretch > 2 else pieces


def _thin(piece: list[tuple[float, float]], stretch: int) -> list[tuple[float, float]]:
    indices = [0, len(piece) - 1]
    for start in range(0, len(piece), stretch):
        part = range(start, min(start + stretch, len(piece)))
        indices += [min(part, key=lambda i: piece[i][1]), max(part, key=lambda i: piece[i][1])]
    return [piece[i] for i in sorted(set(indices))]


def _draw(block: Curves, lines: Sequence[_Line], ident: str, width: float) -> Markup:
    wide = width == WIDE
    height = 340.0 if wide else 260.0
    named = wide and len(lines) <= NAMED
    names = min(max((room(line.name, LABEL) for line in lines), default=0.0), 190.0) if named else 0.0
    points = [p for line in lines for piece in line.pieces for p in piece]
    top, bottom = 30.0, height - 44
    up = Scale.over([y for _, y in points], bottom, top)
    ticks = up.ticks(6 if wide else 5)
    left = max((room(text, TICK) for _, text in ticks), default=20.0) + 8
    right = width - names - (20 if named else 8)
    across = Scale.over([x for x, _ in points], left, right, pad=0.0)
    out = list[Markup]()
    for value, text in ticks:
        y = up(value)
        out.append(tag("line", class_="rule" if value == 0 else "grid", x1=left, x2=right, y1=y, y2=y))
        out.append(tag("text", text, class_="tick", x=left - 7, y=y + 4, text_anchor="end"))
    for value, text in across.ticks(8 if wide else 4):
        x = across(value)
        out.append(tag("line", class_="grid", x1=x, x2=x, y1=bottom, y2=bottom + 4))
        out.append(tick(text, x, bottom + 17, width))
    y_label, x_label = (fit(clean(text), LABEL, width - 4) for text in (block.y_label, block.x_label))
    out.append(tag("text", y_label, class_="axis", x=0.0, y=15.0))
    out.append(
        tag("text", x_label, class_="axis", x=max(right, room(x_label, LABEL) + 2), y=bottom + 36, text_anchor="end")
    )
    for line in lines:
        marks = [_path(piece, across, up) for piece in line.pieces if len(piece) > 1]
        strokes = [tag("path", d=d, fill="none", **line.style) for d in marks]
        strokes += [tag("circle", class_=f"spot c{line.index % COLOURS}", cx=across(p[0][0]), cy=up(p[0][1]), r=3.0)
                    for p in line.pieces if len(p) == 1]  # fmt: skip
        out.append(tag("g", tag("title", line.name), *strokes))
    if named:
        out += _names(lines, across, up, right, names, (top, bottom))
    words = "; ".join(_in_words(line) for line in lines) or "nothing was measured"
    return canvas(ident, width, height, clean(block.title) or "Curves", f"{y_label} over {x_label}. {words}.", *out)


def _path(piece: Sequence[tuple[float, float]], across: Scale, up: Scale) -> str:
    return "M" + "L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in piece)


def _names(
    lines: Sequence[_Line], across: Scale, up: Scale, right: float, width: float, ends: tuple[float, float]
) -> list[Markup]:  # fmt: skip
    """Write each name right of its line's end, moved apart where ends are close."""
    order = sorted(lines, key=lambda line: up(line.pieces[-1][-1][1]))
    heights = list[float]()
    for line in order:
        heights.append(max(up(line.pieces[-1][-1][1]), heights[-1] + LINE if heights else ends[0]))
    limit = ends[1] + 6
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], limit)
        limit = heights[i] - LINE
    out = list[Markup]()
    for line, y in zip(order, heights, strict=True):
        x0, y0 = line.pieces[-1][-1]
        out.append(
            tag(
                "path",
                class_="leader",
                d=f"M{across(x0) + 3:.1f} {up(y0):.1f}L{right + 4:.1f} {up(y0):.1f}L{right + 12:.1f} {y:.1f}",
            )
        )
        out.append(
            tag("text", fit(line.name, LABEL, width), class_=f"label t{line.index % COLOURS}", x=right + 15, y=y + 4.5)
        )
    return out


def _in_words(line: _Line) -> str:
    (x0, y0), (x1, y1) = line.pieces[0][0], line.pieces[-1][-1]
    return f"{line.name} goes from {show(y0)} at {show(x0)} to {show(y1)} at {show(x1)}"
