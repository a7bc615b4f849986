"""Blocks → Markdown, for a comment on a merge request or a terminal: every string is text, charts are their figures."""

import re
from collections.abc import Sequence

from despur.core.visible import visible
from despur.report.blocks import Bars, Cell, Curves, Dialogue, Frontier, Heat, Omitted, Samples, Table, Text, Verdict
from despur.report.league import league_table
from despur.report.page import Page
from despur.report.study import Attainment, Block, Claims, League, Panels
from despur.report.text import clean, interval, show
from despur.report.wording import asked

ROWS, LONG = 50, 1_000  # rows of a table; characters of a text
_MARKUP = re.compile(
    r"([\\`*_{}\[\]<>#|~&@]|:(?=//)|(?<=www)\.|^[-+]|(?<=^\d)[.)])"
)  # nor links of addresses, nor calls of people


def markdown(page: Page) -> str:
    r"""Write a page as Markdown.

    Args:
        page: The page.

    Example:
        >>> print(markdown(Page("Audit", "", [Text("Why", "<b> *so*")])))
        # Audit
        <BLANKLINE>
        ## Why
        <BLANKLINE>
        \<b\> \*so\*
        <BLANKLINE>
    """
    parts = [f"# {_text(page.title)}", *([_text(page.subtitle)] if page.subtitle else [])]
    omitted: list[tuple[str, str]] = []
    for block in page.blocks:
        if isinstance(block, Omitted):
            omitted += block.rows
        else:
            parts += _parts(block)
    if omitted:
        parts += ["## What is not here, and why", "\n".join(f"- {_text(what)}: {_text(why)}" for what, why in omitted)]
    if page.command:
        parts += ["## How this was made", f"    {visible(page.command, one_line=True)}"]
    return "\n\n".join(parts) + "\n"


def _parts(block: Block) -> list[str]:
    match block:
        case Verdict():
            beside = [f"**{_text(name)}**: {_text(text)}" for name, text in block.beside]
            return [f"**{_text(block.word)}**: {_text(block.sentence)}", *beside]
        case Text():
            return [*_head(block.title), _text(block.body, 20 * LONG, lines=True)]
        case Dialogue():
            return [*_head(block.title), *_dialogue(block), *_note(block.note)]
        case Omitted():
            return []
        case _:
            tables = _tables(block)
            return [*_head(block.title), *(t for table in tables for t in _table(table)), *_note(block.note)]


def _dialogue(block: Dialogue) -> list[str]:
    out: list[str] = []
    for question, answers in block.turns[:ROWS]:
        out.append(f"**{_text(asked(question).question)}**")
        out.append(
            "\n".join(f"- {_text(s)}: {_text(a) or '(empty)'}" for s, a in zip(block.speakers, answers, strict=False))
        )
    return out


def _tables(block: Block) -> list[Table]:
    """The figures of a block that the page draws."""
    rows: list[Sequence[Cell]]
    match block:
        case Table():
            return [block]
        case League():
            return [league_table(block)]
        case Claims():
            rows = [[row.claim, row.published, row.ours, row.verdict] for row in block.rows]
            return [Table("", ["claim", "published", "here", "verdict"], rows)]
        case Samples():
            return [Table("", block.columns, block.rows)]
        case Bars():
            return [Table("", ["", "value"], [[name, interval(v, low, high)] for name, v, low, high in block.bars])]
        case Frontier():
            rows = [
                [p.name, interval(p.task, *p.task_interval), interval(p.drift, *p.drift_interval)] for p in block.points
            ]
            return [Table("", ["run", "task", "drift"], rows)]
        case Curves():
            rows = [
                [name, *(cell for at in (0, -1) for cell in (xs[at], ys[at]))]
                for name, xs, ys in block.lines
                if len(xs)
            ]
            header = [f"{end} {label}" for end in ("first", "last") for label in (block.x_label, block.y_label)]
            return [Table("", ["line", *header], rows)]
        case Heat():
            rows = [[name, *cells] for name, cells in zip(block.rows, block.values, strict=False)]
            return [Table("", ["", *block.columns], rows)]
        case Panels():
            rows = [
                [panel.title, name, p.task, p.drift]
                for panel in block.panels
                for name, line in panel.lines
                for p in line
            ]
            return [Table("", ["world", "guard", "task", "drift"], rows)]
        case Attainment():
            rows = [[band.name, float(task), float(drift)] for band in block.bands for task, drift in band.half]
            return [Table("", ["guard", "task of half of the seeds", "drift"], rows)]
        case _:
            return []


def _table(table: Table) -> list[str]:
    if not table.rows:
        return ["Nothing of it was measured."]
    lines = [
        [_cell(c) for c in table.header],
        ["---"] * len(table.header),
        *([_cell(c) for c in row] for row in table.rows[:ROWS]),
    ]
    more = len(table.rows) - ROWS
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return [text, *([f"{more} more rows are not shown."] if more > 0 else [])]


def _cell(cell: Cell) -> str:
    return _text(cell) if isinstance(cell, str) else show(cell)


def _head(title: str) -> list[str]:
    return [f"## {_text(title)}"] if title else []


def _note(note: str) -> list[str]:
    return [_text(note, 4 * LONG)] if note else []


def _text(text: str, limit: int = LONG, *, lines: bool = False) -> str:
    """A string that Markdown prints as it is, on one line."""
    plain = clean(text, limit)
    if not lines:
        return _MARKUP.sub(r"\\\1", " ".join(plain.split()))
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", plain)]
    return "\n\n".join(_MARKUP.sub(r"\\\1", part) for part in paragraphs)
