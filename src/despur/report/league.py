"""All guards, best first: one row per guard, one column per world."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from despur.report.blocks import Cell, Table
from despur.report.curves import COLOURS
from despur.report.study import NAN, Estimate, League, Standing
from despur.report.svg import LABEL, TICK, WIDE, Drawing, Scale, both, canvas, glyph, tag, tick
from despur.report.text import clean, fit, interval, measured, room

MOST, SMALL = 60, 1e-3  # rows drawn; smaller p-values are given as a bound
HEADER = (
    "guard", "needs", "area", "task", "drift", "drift at task 0.98", "task at drift 0.2", "legitimate", "validity", "setting",
    "seeds", "cost", "p",
)  # fmt: skip


def ranked(block: League) -> list[Standing]:
    """Best first; what was not measured last."""
    return sorted(
        block.rows, key=lambda row: (math.isnan(row.mean), -row.mean if measured(row.mean) else 0.0, row.name)
    )


def league_table(block: League) -> Table:
    """The figures, in the order of the drawing; empty columns are left out."""
    rows = ranked(block)
    cells: list[list[Cell]] = [
        [
            row.name + " (control)" * row.control + " (not accepted)" * (not row.accepted), row.needs, row.mean, row.task, row.drift,
            row.drift_at_task, row.task_at_drift, row.legitimate, row.validity, row.setting, row.seeds, row.cost, _p(row.p),
        ]
        for row in rows
    ]  # fmt: skip
    used = [
        j
        for j in range(len(HEADER))
        if j < 3 or any(cell[j] not in ("", None, 0) and not _is_nan(cell[j]) for cell in cells)
    ]
    best = [i for i, row in enumerate(rows) if row.name == block.judged]
    header = [block.metric if name == "area" else name for name in HEADER]
    return Table("", [header[j] for j in used], [[cell[j] for j in used] for cell in cells], best=best)


def draw_league(block: League, ident: str, order: Mapping[str, int]) -> Drawing:
    """Draw each guard's area and interval in each world; 0 is base and naive run, 1 the ideal."""
    rows = ranked(block)
    visible = [row for row in rows if measured(row.mean)][:MOST]
    wide, narrow = both(lambda ident, width: _draw(block, visible, order, ident, width), ident)
    kinds = {_kind(row, block.judged) for row in visible}
    legend = [
        (glyph(tag("circle", class_=kind, cx=8.0, cy=8.0, r=4.5)), text) for kind, text in LEGEND if kind in kinds
    ]
    missing = [clean(row.name) for row in rows if not measured(row.mean)]
    beyond = [f"{len(rows) - len(missing) - MOST} more rows"] if len(rows) - len(missing) > MOST else []
    return Drawing(wide, narrow, legend, nothing=not visible, missing=missing, beyond=beyond)


LEGEND = (
    ("dot", "judged"), ("dot peer", "guard"), ("dot control", "control"), ("dot refused", "not accepted"),
    ("dot refused control", "control, not accepted"),
)  # fmt: skip


def _draw(block: League, rows: Sequence[Standing], order: Mapping[str, int], ident: str, width: float) -> Markup:
    wide, worlds = width == WIDE, max(len(block.worlds), 1)
    step = 23.0 if wide else 36.0
    names = min(max((room(clean(row.name), LABEL) for row in rows), default=0.0) + 10, 190.0) if wide else 0.0
    number = room("0.000", TICK) + 4 if width / worlds > 130 else 0.0
    panel = (width - names) / worlds
    titles = [_lines(clean(world), panel - 8) for world in block.worlds] or [[]]
    top = 9.0 + 15 * max(map(len, titles))
    bottom = top + step * len(rows)
    ends = [v for row in rows for e in row.areas for v in e if measured(v)]
    high = min(max([1.0, *ends]), 1.5)
    out = list[Markup]()
    for w in range(worlds):
        left = names + w * panel + 8
        on = Scale(min(0.0, *ends, 0.0), high * 1.03, left, left + panel - number - 18)
        for i, line in enumerate(titles[w]):
            out.append(tag("text", line, class_="axis", x=left, y=14.0 + 15 * i))
        for value, text in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
            kind = "grid" if value == 0.5 else "rule"
            out.append(tag("line", class_=kind, x1=on(value), x2=on(value), y1=top, y2=bottom))
            out.append(tick(text, on(value), bottom + 16, width))
        for i, row in enumerate(rows):
            y = top + step * i + (step / 2 if wide else step - 9)
            found = row.areas[w] if w < len(row.areas) else (NAN, NAN, NAN)
            world = w < len(block.worlds) and block.worlds[w]
            out += _mark(row, found, on, y, _kind(row, block.judged) + _colour(row, order), world)
            if number and measured(found[0]):
                kind = "tick strong" if row.name == block.judged else "tick"
                out.append(
                    tag(
                        "text",
                        f"{found[0]:.3f}".replace("-", "−"),
                        class_=kind,
                        x=left + panel - 14,
                        y=y + 4,
                        text_anchor="end",
                    )
                )
    for i, row in enumerate(rows):
        y = top + step * i + (step / 2 + 4.5 if wide else 14.0)
        kind = (
            "label strong"
            if row.name == block.judged
            else "label faint"
            if row.control or not row.accepted
            else "label"
        )
        out.append(tag("text", fit(clean(row.name), LABEL, names - 8 if wide else width), class_=kind, x=0.0, y=y))
    words = "; ".join(f"{clean(row.name)} {', '.join(interval(*found) for found in row.areas)}" for row in rows)
    ends = "0 is base and naive run, 1 the ideal" if block.metric == "area" else "1 is the ideal"
    what = clean(block.metric)
    about = f"{what[:1].upper()}{what[1:]} by guard, in {', '.join(map(clean, block.worlds))}; {ends}: {words}."
    return canvas(ident, width, bottom + 24, clean(block.title) or "League", about, *out)


def _lines(text: str, width: float) -> list[str]:
    """One line, or two, broken behind a space or hyphen, where one has no room."""
    cut = max(text.rfind(c, 0, -1) for c in " -/") + 1
    parts = [text] if cut == 0 or room(text, LABEL) <= width else [text[:cut], text[cut:]]
    return [fit(part, LABEL, width) for part in parts]


def _mark(row: Standing, found: Estimate, on: Scale, y: float, kind: str, world: str | bool) -> list[Markup]:
    value, low, high = found
    if not measured(value):
        return [tag("text", "–", class_="tick", x=on(0) + 4, y=y + 4)]
    title = tag("title", f"{clean(row.name)}, {clean(world)}: {interval(value, low, high)}")
    span = (
        [tag("line", class_=kind.replace("dot", "whisker"), x1=on(low), x2=on(high), y1=y, y2=y)]
        if measured(low) and measured(high)
        else []
    )
    return [tag("g", title, *span, tag("circle", class_=kind, cx=on(value), cy=y, r=4.5))]


def _kind(row: Standing, judged: str) -> str:
    if row.name == judged and row.accepted:
        return "dot"
    plain = "" if row.control or not row.accepted else " peer"
    return "dot" + plain + " refused" * (not row.accepted) + " control" * row.control


def _colour(row: Standing, order: Mapping[str, int]) -> str:
    """The colour that the guard has in the page's other charts."""
    number = order.get(row.name, COLOURS)
    return f" g{number}" if row.accepted and number < COLOURS else ""


def _p(p: float | int) -> Cell:
    return f"< {SMALL:g}" if measured(p) and p < SMALL else float(p)


def _is_nan(cell: Cell) -> bool:
    return isinstance(cell, float) and math.isnan(cell)
