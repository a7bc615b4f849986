"""Task against drift, the goal in the lower right corner."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from despur.report.blocks import Frontier, Number, Point
from despur.report.labels import Box, around, place
from despur.report.marks import DOT, LINE, NAMED, dot, number, target
from despur.report.svg import LABEL, TICK, WIDE, Drawing, Scale, both, canvas, glyph, tag, tick
from despur.report.text import clean, fit, interval, measured, room

AXIS, BEYOND = (-0.12, 1.12), (-1.0, 2.0)  # always in view; a point further out is drawn on the edge
UNGUARDED = dict.fromkeys(("naive", "scout", "twin"), (1.0, 1.0))  # whichever a report measures against
REFERENCES = {"base": (0.0, 0.0), **UNGUARDED, "ideal": (1.0, 0.0)}
LEGEND = (
    ("dot", "guard"),
    ("dot control", "control"),
    ("dot refused", "not accepted: legitimate use or validity fell under its limit"),
)


@dataclass(frozen=True)
class Frame:
    """Both scales of a plot of task against drift."""

    x: Scale
    y: Scale

    def at(self, point: Point) -> tuple[float, float]:
        """Where a point lies."""
        return self.x(point.task), self.y(point.drift)

    def whiskers(self, point: Point) -> list[tuple[float, float, float, float]]:
        """Lines of a point's intervals."""
        (x, y), out = self.at(point), list[tuple[float, float, float, float]]()
        if all(map(measured, point.task_interval)):
            out.append((self.x(point.task_interval[0]), y, self.x(point.task_interval[1]), y))
        if all(map(measured, point.drift_interval)):
            out.append((x, self.y(point.drift_interval[1]), x, self.y(point.drift_interval[0])))
        return out


def draw_frontier(block: Frontier, ident: str) -> Drawing:
    """Draw it: guards filled, controls hollow, what is not accepted grey.

    On a phone, or where they are many, points carry numbers, and the names are listed below. A point that lies outside
    [-1, 2] is drawn on the edge and named below; one that was not measured is only named.
    """
    points = [p for p in block.points if measured(p.task) and measured(p.drift)]
    missing = [f"{clean(p.name)} ({_lacks(p)})" for p in block.points if p not in points]
    beyond = [_in_words(p) for p in points if _is_beyond(p)]
    wide, narrow = both(lambda ident, width: _draw(points, clean(block.title), ident, width), ident)
    kinds = {_kind(p) for p in points}
    legend = [(glyph(*dot(8.0, 8.0, kind)), text) for kind, text in LEGEND if kind in kinds]
    legend += [(glyph(*dot(8.0, 8.0, "dot refused control")), "control, not accepted")] * (
        "dot refused control" in kinds
    )
    legend += [(glyph(*target(8.0, 8.0)), "ideal: all of the task, none of the drift")]
    key = [(number(i, _kind(p)), _in_words(p)) for i, p in enumerate(points, 1)]
    return Drawing(
        wide, narrow, legend, key, key_on_wide=len(points) > NAMED, nothing=not points, missing=missing, beyond=beyond
    )


def _draw(points: Sequence[Point], title: str, ident: str, width: float) -> Markup:
    wide = width == WIDE
    height, left = (470.0, 46.0) if wide else (360.0, 36.0)
    frame = Box(left, 30.0, width - 6, height - 44)
    on = Frame(
        Scale(*_range([(p.task, *p.task_interval) for p in points]), frame.left, frame.right),
        Scale(*_range([(p.drift, *p.drift_interval) for p in points]), frame.bottom, frame.top),
    )
    words = "; ".join(map(_in_words, points)) or "nothing was measured"
    words = f"Task to the right, drift upwards, good is low and right: {words}."
    marks = [goal(on, frame), *axes(on, frame, 8 if wide else 5), *target(on.x(1), on.y(0))]
    marks += _points(points, on, frame, names=wide and len(points) <= NAMED)
    return canvas(ident, width, height, title or "Task and drift", words, *marks)


def _range(values: Sequence[tuple[Number, Number, Number]]) -> tuple[float, float]:
    near = [v for v, _, _ in values if BEYOND[0] <= v <= BEYOND[1]]
    ends = [e for _, low, high in values for e in (low, high) if measured(e) and -0.5 <= e <= 1.5]
    scale = Scale.over([*near, *ends, 0.0, 1.0], 0.0, 1.0, pad=0.05)
    return min(AXIS[0], scale.low), max(AXIS[1], scale.high)


def goal(on: Frame, frame: Box) -> Markup:
    """Rings about the ideal, each a tenth of the way wider; an inner svg cuts them off at the axes."""
    x, y, unit_x, unit_y = on.x(1), on.y(0), on.x(0.1) - on.x(0), on.y(0) - on.y(0.1)
    rings = [tag("ellipse", class_="goal", cx=x, cy=y, rx=unit_x * k, ry=unit_y * k) for k in (1, 2, 3)]
    width, height = frame.right - frame.left, frame.bottom - frame.top
    view = f"{frame.left:g} {frame.top:g} {width:g} {height:g}"
    return tag("svg", *rings, x=frame.left, y=frame.top, width=width, height=height, viewBox=view)


def axes(on: Frame, frame: Box, most: int) -> list[Markup]:
    """Grid lines and their labels."""
    out = list[Markup]()
    for value, text in on.x.ticks(most):
        x, kind = on.x(value), "rule" if value in (0, 1) else "grid"
        out.append(tag("line", class_=kind, x1=x, x2=x, y1=frame.top, y2=frame.bottom))
        out.append(tick(text, x, frame.bottom + 16, frame.right + 6))
    for value, text in on.y.ticks(most):
        y, kind = on.y(value), "rule" if value in (0, 1) else "grid"
        out.append(tag("line", class_=kind, x1=frame.left, x2=frame.right, y1=y, y2=y))
        out.append(tag("text", text, class_="tick", x=frame.left - 7, y=y + 4, text_anchor="end"))
    out.append(tag("text", "drift (unguarded run = 1)", class_="axis", x=0.0, y=15.0))
    out.append(
        tag(
            "text",
            "task learned (unguarded run = 1)",
            class_="axis",
            x=frame.right,
            y=frame.bottom + 36,
            text_anchor="end",
        )
    )
    return out


def _points(points: Sequence[Point], on: Frame, frame: Box, *, names: bool) -> list[Markup]:
    known = {p.name for p in points if _is_reference(p)}
    drawn = ("base", "ideal") if known & UNGUARDED.keys() else ("base", "naive", "ideal")
    refs = [(name, *(scale(v) for scale, v in zip((on.x, on.y), REFERENCES[name], strict=True))) for name in drawn]
    refs = [ref for ref in refs if ref[0] not in known]
    marks = [*map(on.at, points), *((x, y) for _, x, y in refs)]
    texts = [fit(clean(p.name), LABEL, 190) for p in points] if names else [str(i + 1) for i in range(len(points))]
    texts += [name for name, _, _ in refs]
    lines = [line for p in points for line in on.whiskers(p)]
    boxes = place(
        marks, [(room(text, LABEL if i < len(points) else TICK), LINE) for i, text in enumerate(texts)],
        area=Box(frame.left + 3, frame.top + 2, frame.right - 3, frame.bottom - 2),
        keep_off=[around(x, y, DOT + 1) for x, y in marks],
        avoid=[Box(x1 - 2, y1 - 2, x2 + 2, y2 + 2) for x1, y1, x2, y2 in lines],
    )  # fmt: skip
    out = [
        tag("path", class_="cross", d=f"M{x - 4:.1f} {y:.1f}h8M{x:.1f} {y - 4:.1f}v8")
        for n, x, y in refs
        if n != "ideal"
    ]
    for point in points:
        kind = _kind(point).replace("dot", "whisker")
        out += [tag("line", class_=kind, x1=a, y1=b, x2=c, y2=d) for a, b, c, d in on.whiskers(point)]
    for mark, box in zip(marks, boxes, strict=True):
        if box and box.is_far(mark):
            (u, v), (x, y) = box.nearest(*mark), mark
            out.append(tag("line", class_="leader", x1=x, y1=y, x2=u, y2=v))
    for point, mark in sorted(
        zip(points, marks, strict=False), key=lambda pair: (pair[0].accepted, not pair[0].control)
    ):
        out.append(tag("g", tag("title", _in_words(point)), *dot(*mark, _kind(point))))
    for i, (mark, text, box) in enumerate(zip(marks, texts, boxes, strict=True)):
        if box:
            kind = ("label" if points[i].accepted else "label faint") if i < len(points) else "tick"
            x, anchor = _anchor(box, mark[0])
            out.append(tag("text", text, class_=kind, x=x, y=(box.top + box.bottom) / 2 + 4.5, text_anchor=anchor))
    return out


def _anchor(box: Box, x: float) -> tuple[float, str]:
    """Align a text at the side of its box that is nearer to the mark."""
    if box.left > x:
        return box.left, "start"
    return (box.right, "end") if box.right < x else ((box.left + box.right) / 2, "middle")


def _kind(point: Point) -> str:
    if _is_reference(point):
        return "dot reference"
    return "dot" + " refused" * (not point.accepted) + " control" * point.control


def _is_reference(point: Point) -> bool:
    """Whether it is the base or the naive run itself, given as a point."""
    x, y = REFERENCES.get(point.name, (math.inf, math.inf))
    return abs(point.task - x) + abs(point.drift - y) < 0.05


def _is_beyond(point: Point) -> bool:
    return not all(BEYOND[0] <= v <= BEYOND[1] for v in (point.task, point.drift))


def _lacks(point: Point) -> str:
    return " and ".join(n for n, v in (("task", point.task), ("drift", point.drift)) if not measured(v))


def _in_words(point: Point) -> str:
    task, drift = interval(point.task, *point.task_interval), interval(point.drift, *point.drift_interval)
    marks = [", control"] * point.control + [", not accepted"] * (not point.accepted)
    return f"{clean(point.name)}: task {task}, drift {drift}{''.join(marks)}"
