"""How much room a table needs, so that one that does not fit becomes cards."""

from collections.abc import Sequence

from despur.report.text import room

SIZE, PAD = 14.8, 22.0  # font size of a table, and the room between two columns
LONGEST, LEAST = 150.0, 40.0  # of a text column: as wide as its longest word, but no wider than this
SHARE, MOST = 8.0, 300.0  # lines that a text may run over, and the width at which it may run over more
FITS = (300, 480, 680, 960)  # widths in px that page.css tells apart


def fit_class(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool]) -> str:
    """Name the least of the widths that holds a table; `page.css` shows it as cards where there is less.

    Example:
        >>> fit_class(["a", "b"], [["x", "1"]], [False, True]), fit_class(["a figure"] * 20, [["0.123"] * 20], [True] * 20)
        ('fit-300', 'fit-never')
    """
    need = 0.0
    for j, name in enumerate(header):
        cells = [row[j] for row in rows[:100]]
        if right[j]:
            inside = max((room(cell, SIZE) for cell in cells), default=0.0)
        else:
            words = [word for cell in cells for word in cell.split()[:60]]
            text = max((room(cell[:400], SIZE) for cell in cells), default=0.0)
            inside = max(
                min(max((room(w[:60], SIZE) for w in words), default=0.0), LONGEST),
                min(text / SHARE, MOST) if text > LONGEST else 0.0,
            )
        head = max((room(word, 12.8) for word in name.split()), default=0.0)
        need += max(inside, min(head, LONGEST), LEAST) + PAD
    return next((f"fit-{width}" for width in FITS if need - PAD <= width), "fit-never")


def unbroken(cells: Sequence[str]) -> bool:
    """Whether all words of a column are short enough to stay whole, as `fit_class` counts them."""
    return all(room(word, SIZE) <= LONGEST for cell in cells[:100] for word in cell.split()[:60])
