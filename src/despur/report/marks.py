"""Marks of the frontier: points, numbers, the target."""

from markupsafe import Markup

from despur.report.svg import glyph, tag

DOT, LINE, NAMED = 5.5, 17.0, 14  # radius of a mark, height of a label, points that can carry their names


def target(x: float, y: float) -> list[Markup]:
    """The ideal's mark."""
    return [tag("circle", class_="target", cx=x, cy=y, r=7.0), tag("circle", class_="bull", cx=x, cy=y, r=2.0)]


def dot(x: float, y: float, kind: str) -> list[Markup]:
    """The mark of a run; a line goes through one that was refused."""
    disc = tag("circle", class_=kind, cx=x, cy=y, r=DOT)
    return [disc, tag("path", class_="strike", d=f"M{x - 4:.1f} {y + 4:.1f}l8 -8")] if "refused" in kind else [disc]


def number(i: int, kind: str) -> Markup:
    """A mark with its number, for the key."""
    return glyph(
        tag("text", str(i), class_="label", x=9.0, y=13.0, text_anchor="middle"), *dot(28.0, 8.0, kind), width=36.0
    )
