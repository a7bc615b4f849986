"""One colour a guard, the same in every chart of a page."""

from collections.abc import Sequence

from despur.report.blocks import Curves
from despur.report.study import Attainment, Block, League, Panels


def colour_order(blocks: Sequence[Block]) -> dict[str, int]:
    """Number the names that a page's charts draw as lines: the judged guard first, the others as they come.

    Example:
        >>> colour_order([Curves("", "", "", [("scout", [], [])]), Curves("", "", "", [("adapter", [], []), ("scout", [], [])])])
        {'scout': 0, 'adapter': 1}
    """
    drawn: list[str] = []
    judged: list[str] = []
    for block in blocks:
        match block:
            case League():
                judged.append(block.judged)
            case Panels():
                drawn += [name for panel in block.panels for name, _ in panel.lines]
            case Attainment():
                drawn += [band.name for band in block.bands]
            case Curves():
                drawn += [name for name, _, _ in block.lines]
            case _:
                pass
    return {name: i for i, name in enumerate(dict.fromkeys([*(n for n in judged if n in drawn), *drawn]))}
