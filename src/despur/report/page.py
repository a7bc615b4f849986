"""Blocks → one HTML file."""

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from despur.core.disk.files import write_bytes
from despur.core.errors import BadInput
from despur.report.bars import draw_bars
from despur.report.blocks import Bars, Cell, Curves, Dialogue, Frontier, Heat, Samples, Table, Text, Verdict
from despur.report.curves import draw_curves
from despur.report.frontier import draw_frontier
from despur.report.heat import draw_heat
from despur.report.league import draw_league, league_table
from despur.report.panels import draw_panels
from despur.report.stairs import draw_attainment
from despur.report.study import Attainment, Block, Claim, Claims, League, Panels
from despur.report.text import MISSING, clean, measured, show

LONG, SAMPLE, NOTE = 20_000, 4_000, 2_000  # characters of a text, of one sample, of a note or fact
ROWS = 500  # rows of a table
_FIGURE = re.compile(r"[-−<≤>≥]?\s?\d[\d\s.,%×x/()\[\]−–-]*")  # a string that reads as a number


def write_page(path: Path, *, title: str, subtitle: str, blocks: Sequence[Block], facts: Mapping[str, str]) -> None:
    """Write a page that loads nothing, runs nothing and prints every string as text.

    The same arguments give the same bytes. Long texts and tables are cut, with a note. The file gets its
    name when it is complete: after an error an older one is unchanged.

    Args:
        path: The HTML file; its folder is made.
        title: Title of the page.
        subtitle: Below the title; "" for none.
        blocks: The page from top to bottom.
        facts: Facts to run it again: versions, seed, command, digests.

    Raises:
        BadInput: the file cannot be written.
        TypeError: something that is no block.
        ValueError: a line of a chart has unequal numbers of x and y values.

    Example:
        >>> page = tmp_path / "audit.html"
        >>> write_page(page, title="Audit", subtitle="", blocks=[Text("Why", "<b>")], facts={"seed": "0"})
        >>> "&lt;b&gt;" in page.read_text(encoding="utf-8")
        True
    """
    page = _template().render(
        title=clean(title), subtitle=clean(subtitle, NOTE),
        blocks=[_view(block, f"b{i}") for i, block in enumerate(blocks)],
        facts=[(clean(name), clean(value, NOTE)) for name, value in facts.items()],
    )  # fmt: skip
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f"writing {str(path)!r} failed: {error.strerror or error}. Free some room or choose another -o"
        ) from error
    write_bytes(path, page.encode("utf-8", "replace"))


@functools.cache
def _template() -> Any:
    folder = PackageLoader("despur.report", "")
    room = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return room.get_template("page.html.j2")


def _view(block: Block, ident: str) -> dict[str, Any]:
    """What the template needs of a block; all strings are clean."""
    match block:
        case Text():
            return {"kind": "text", "title": clean(block.title), "paragraphs": _paragraphs(block.body)}
        case Verdict():
            return {
                "kind": "verdict",
                "word": clean(block.word),
                "sentence": clean(block.sentence, NOTE),
                "tone": clean(block.tone),
            }
        case Table():
            view = _table(block)
        case Samples():
            rows = [[clean(text, SAMPLE) for text in row] for row in block.rows[:ROWS]]
            columns = _padded(list(map(clean, block.columns)), max(map(len, rows), default=0), "")
            view = {"columns": columns, "rows": rows, "cut": max(0, len(block.rows) - ROWS)}
        case Dialogue():
            turns = [(clean(asked, NOTE), [clean(a, SAMPLE) for a in answers]) for asked, answers in block.turns[:ROWS]]
            speakers = _padded(list(map(clean, block.speakers)), max((len(a) for _, a in turns), default=0), "")
            view = {"speakers": speakers, "turns": turns, "cut": max(0, len(block.turns) - ROWS)}
        case Frontier():
            view = {"drawing": draw_frontier(block, ident)}
        case Bars():
            view = {"drawing": draw_bars(block, ident)}
        case Curves():
            view = {"drawing": draw_curves(block, ident)}
        case Heat():
            view = {"drawing": draw_heat(block, ident)}
        case Attainment():
            view = {"drawing": draw_attainment(block, ident)}
        case Panels():
            view = {"drawing": draw_panels(block, ident)}
        case League():
            view = {"chart": draw_league(block, ident), **_table(league_table(block))}
        case Claims():
            view = {"rows": [_claim(row) for row in block.rows[:ROWS]], "cut": max(0, len(block.rows) - ROWS)}
        case _:
            raise TypeError(f"{type(block).__name__} is no block of a page; give one of {Block}")
    kind = "chart" if "drawing" in view else type(block).__name__.lower()
    return {"kind": kind, "title": clean(block.title), "note": clean(block.note, NOTE), "ident": ident, **view}


def _claim(row: Claim) -> dict[str, str]:
    return {
        "claim": clean(row.claim), "source": clean(row.source), "published": clean(row.published), "ours": clean(row.ours),
        "verdict": clean(row.verdict), "note": clean(row.note),
    }  # fmt: skip


def _paragraphs(body: str) -> list[str]:
    text = clean(body, LONG).replace("\r\n", "\n").replace("\r", "\n")
    return [part.strip("\n") for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def _table(block: Table) -> dict[str, Any]:
    visible = block.rows[:ROWS]
    width = max([len(block.header), *map(len, visible)])
    texts = [_padded([show(cell) for cell in row], width, MISSING) for row in visible]
    right = [all(_is_figure(row[j]) for row in visible if j < len(row)) and bool(visible) for j in range(width)]
    pads = [
        _pads([row[j] if j < len(row) else None for row in visible], [row[j] for row in texts]) for j in range(width)
    ]
    rows = [
        {"best": i in block.best, "cells": [(text, pads[j][i] if right[j] else "") for j, text in enumerate(row)]}
        for i, row in enumerate(texts)
    ]
    header = _padded(list(map(clean, block.header)), width, "")
    return {"header": header, "rows": rows, "right": right, "cut": len(block.rows) - len(visible)}


def _padded(row: list[str], width: int, filler: str) -> list[str]:
    return row + [filler] * (width - len(row))


def _is_figure(cell: Cell) -> bool:
    return cell is None or not isinstance(cell, str) or bool(_FIGURE.fullmatch(cell)) or cell in ("", "–", "-")


def _pads(cells: Sequence[Cell], texts: Sequence[str]) -> list[str]:
    """Invisible padding after each number of a column, so that decimal points are aligned."""
    plain = [measured(cell) and "e" not in text for cell, text in zip(cells, texts, strict=True)]
    tails = [text[text.find(".") :] if "." in text else "" for text in texts]
    longest = max((len(t) for t, ok in zip(tails, plain, strict=True) if ok), default=0)
    return [("." + "0" * longest)[len(t) : longest] if ok else "" for t, ok in zip(tails, plain, strict=True)]
