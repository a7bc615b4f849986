"""The same frontier for many worlds, side by side."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from despur.report.blocks import Number, Point
from despur.report.curves import COLOURS, DASHES
from despur.report.labels import Box
from despur.report.study import Panel, Panels
from despur.report.svg import LABEL, WIDE, Drawing, Scale, both, canvas, glyph, tag, tick
from despur.report.text import clean, fit, measured, show

LEAST, MOST = -0.5, 1.5  # of both axes; a point further out is drawn on the edge
GAP, HEAD, FOOT = 36.0, 24.0, 26.0


def draw_panels(block: Panels, ident: str, order: Mapping[str, int]) -> Drawing:
    """Draw them: settings joined from weak to strong, controls dashed and hollow, what is not accepted grey."""
    names = list(dict.fromkeys(name for panel in block.panels for name, _ in panel.lines))
    colours = {name: order[name] for name in names if order[name] < COLOURS}
    wide, narrow = both(lambda ident, width: _draw(block, colours, ident, width), ident)
    key = [
        (glyph(tag("path", class_=f"line c{i}", d="M2 8H30"), _dot(16.0, 8.0, f"c{i}"), width=32.0), clean(n))
        for n, i in colours.items()
    ]
    if len(names) > len(colours):
        key.append(
            (glyph(tag("path", class_="line other", d="M2 8H30"), width=32.0), f"{len(names) - len(colours)} others")
        )
    points = [(panel, name, p) for panel in block.panels for name, line in panel.lines for p in line]
    legend = [(glyph(_target(8.0, 8.0)), "ideal: all of the task, none of the drift")]
    if any(p.control for *_, p in points):
        legend.append(
            (glyph(tag("path", class_="line c5", stroke_dasharray=DASHES[1], d="M2 8H30"), width=32.0), "control")
        )
    if any(not p.accepted for *_, p in points):
        legend.append((glyph(_dot(8.0, 8.0, "refused")), "not accepted"))
    missing = [f"{clean(n)} in {clean(panel.title)}" for panel, n, p in points if not _is_there(p)]
    return Drawing(
        wide, narrow, legend, key, key_on_wide=True, nothing=not points, missing=list(dict.fromkeys(missing))
    )


def _draw(block: Panels, colours: Mapping[str, int], ident: str, width: float) -> Markup:
    across = min(max(len(block.panels), 1), 2 if width != WIDE or len(block.panels) in (2, 4) else 3)
    side = min((width - GAP * across) / across, 310.0)
    points = [p for panel in block.panels for _, line in panel.lines for p in line if _is_there(p)]
    ranges = _range([p.task for p in points], [1.0]), _range([p.drift for p in points], [0.0, 1.0])
    step = HEAD + side + FOOT
    down = math.ceil(len(block.panels) / across)
    out = list[Markup]()
    for i, panel in enumerate(block.panels):
        left, top = GAP + (i % across) * (side + GAP), HEAD + (i // across) * (step + 8)
        out += _panel(panel, colours, ranges, Box(left, top, left + side, top + side), width)
    words = ". ".join(f"{clean(p.title)}: {_in_words(p)}" for p in block.panels) or "nothing was measured"
    words = f"Task to the right, drift upwards, good is low and right. {words}."
    return canvas(ident, width, down * (step + 8), clean(block.title) or "Frontiers", words, *out)


def _range(values: Sequence[Number], always: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that all panels share."""
    near = [float(min(max(v, LEAST), MOST)) for v in [*values, *always]]
    margin = 0.08 * (max(near) - min(near)) or 0.1
    return min(near) - margin, max(near) + margin


def _panel(
    panel: Panel, colours: Mapping[str, int], ranges: tuple[tuple[float, float], tuple[float, float]], frame: Box, width: float
) -> list[Markup]:  # fmt: skip
    x, y = Scale(*ranges[0], frame.left, frame.right), Scale(*ranges[1], frame.bottom, frame.top)
    out = [
        tag(
            "text",
            fit(clean(panel.title), LABEL, frame.right - frame.left),
            class_="label",
            x=frame.left,
            y=frame.top - 8,
        )
    ]
    for value, text in x.ticks(4):
        kind = "rule" if value in (0, 1) else "grid"
        out.append(tag("line", class_=kind, x1=x(value), x2=x(value), y1=frame.top, y2=frame.bottom))
        out.append(tick(text, x(value), frame.bottom + 15, width))
    for value, text in y.ticks(4):
        kind = "rule" if value in (0, 1) else "grid"
        out.append(tag("line", class_=kind, x1=frame.left, x2=frame.right, y1=y(value), y2=y(value)))
        out.append(tag("text", text, class_="tick", x=frame.left - 5, y=y(value) + 4, text_anchor="end"))
    out.append(tag("text", "drift", class_="tick", x=frame.left + 3, y=frame.top + 12))
    out.append(tag("text", "task", class_="tick", x=frame.left + 3, y=frame.bottom - 5))
    order = sorted(panel.lines, key=lambda line: -colours.get(line[0], COLOURS))  # the first on top
    for name, points in order:
        seen = [p for p in points if _is_there(p)]
        colour = f"c{colours[name]}" if name in colours else "other"
        at = [(x(p.task), y(p.drift)) for p in seen]
        dashed = {"stroke_dasharray": DASHES[1]} if any(p.control for p in seen) else {}
        path = tag("path", class_=f"line thin {colour}", d="M" + "L".join(f"{u:.1f} {v:.1f}" for u, v in at), **dashed)
        marks = [_dot(u, v, colour if p.accepted else "refused", p.control) for (u, v), p in zip(at, seen, strict=True)]
        out.append(tag("g", tag("title", clean(name)), *([path] if len(at) > 1 else []), *marks))
    return [*out, _target(x(1), y(0))]


def _dot(x: float, y: float, kind: str, control: bool = False) -> Markup:
    return tag("circle", class_=f"mark {kind}{' control' * control}", cx=x, cy=y, r=3.0)


def _target(x: float, y: float) -> Markup:
    return tag("circle", class_="target", cx=x, cy=y, r=6.0)


def _is_there(point: Point) -> bool:
    return measured(point.task) and measured(point.drift)


def _in_words(panel: Panel) -> str:
    best: list[str] = []
    for name, points in panel.lines:
        seen = [p for p in points if _is_there(p) and p.accepted]
        if seen:
            p = max(seen, key=lambda p: max(p.task, 0) * max(1 - p.drift, 0))
            best.append(f"{clean(name)} task {show(float(p.task))}, drift {show(float(p.drift))}")
    return "; ".join(best) or "nothing accepted"
