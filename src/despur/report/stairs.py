"""What guards attain from seed to seed: stairs for half of the seeds, a band from a quarter to three quarters."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from despur.report.curves import COLOURS, DASHES
from despur.report.frontier import Frame, axes, goal
from despur.report.labels import Box
from despur.report.marks import target
from despur.report.study import Attainment, Band
from despur.report.svg import WIDE, Drawing, Scale, both, canvas, glyph, tag
from despur.report.text import clean, show

LEAST = -0.15  # lowest drift on the axis, unless something lies lower


def draw_attainment(block: Attainment, ident: str, order: Mapping[str, int]) -> Drawing:
    """Draw it; what half of the seeds do not attain has no line and is named below."""
    bands = [(order[b.name], b) for b in block.bands if len(b.half)]
    missing = [f"{clean(b.name)} (half of the seeds attain nothing)" for b in block.bands if not len(b.half)]
    wide, narrow = both(lambda ident, width: _draw(bands, clean(block.title), ident, width), ident)
    key = [(_swatch(i), clean(band.name)) for i, band in bands if i < COLOURS]
    if len(bands) > len(key):
        key.append(
            (glyph(tag("path", class_="line other", d="M2 8H30"), width=32.0), f"{len(bands) - len(key)} others")
        )
    legend = [(glyph(*target(8.0, 8.0)), "ideal: all of the task, none of the drift")]
    return Drawing(wide, narrow, legend, key, key_on_wide=True, nothing=not bands, missing=missing)


def _draw(bands: Sequence[tuple[int, Band]], title: str, ident: str, width: float) -> Markup:
    height, left = (430.0, 46.0) if width == WIDE else (340.0, 42.0)
    frame = Box(left, 30.0, width - 6, height - 44)
    corners = np.concatenate([np.zeros((1, 2)), *(s for _, b in bands for s in (b.quarter, b.half, b.most))])
    most, least = max(1.08, float(corners[:, 0].max()) + 0.03), min(LEAST, float(corners[:, 1].min()) - 0.03)
    on = Frame(
        Scale(0.0, min(most, 2.0), frame.left, frame.right), Scale(max(least, -1.0), 1.0, frame.bottom, frame.top)
    )
    out = [goal(on, frame), *axes(on, frame, 8 if width == WIDE else 5)]
    for i, band in reversed(bands):  # the first on top
        if i < COLOURS and len(band.quarter):
            outer, inner = _stairs(band.quarter, on), _stairs(band.most, on) or [(on.x(0), on.y(1))]
            out.append(tag("path", class_=f"band f{i}", d=f"{_path([*outer, *reversed(inner)])}Z"))
    for i, band in reversed(bands):
        style = (
            {"class_": f"line c{i}", "stroke_dasharray": DASHES[i % len(DASHES)]}
            if i < COLOURS
            else {"class_": "line other"}
        )
        out.append(tag("g", tag("title", clean(band.name)), tag("path", d=_path(_stairs(band.half, on)), **style)))
    words = "; ".join(_in_words(band) for _, band in bands) or "nothing is attained"
    words = f"Task to the right, drift upwards, good is low and right. Half of the seeds attain: {words}."
    return canvas(ident, width, height, title or "Attainment", words, *out, *target(on.x(1), on.y(0)))


def _stairs(corners: np.ndarray, on: Frame) -> list[tuple[float, float]]:
    """Edge of all that is attained: right to each corner, up to the next, at last up to the drift of the naive run."""
    out = list[tuple[float, float]]()
    for task, drift in corners:
        if task > 0 and drift < 1:
            out += [(out[-1][0] if out else on.x(0), on.y(float(drift))), (on.x(float(task)), on.y(float(drift)))]
    return [*out, (out[-1][0], on.y(1))] if out else []


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) if points else "M0 0"


def _swatch(i: int) -> Markup:
    line = tag("path", class_=f"line c{i}", stroke_dasharray=DASHES[i % len(DASHES)], d="M2 8H30")
    return glyph(tag("path", class_=f"band f{i}", d="M2 2H30V14H2Z"), line, width=32.0)


def _in_words(band: Band) -> str:
    best = max(band.half, key=lambda corner: float(max(corner[0], 0) * max(1 - corner[1], 0)))
    return f"{clean(band.name)} task {show(float(best[0]))} at drift {show(float(best[1]))}"
