"""A block as the template needs it: every string is clean, and what is not there is listed with its reason."""

import re
from collections.abc import Mapping
from typing import Any

from despur.report.bars import draw_bars
from despur.report.blocks import Bars, Curves, Dialogue, Frontier, Heat, Omitted, Samples, Table, Text, Verdict
from despur.report.curves import draw_curves
from despur.report.frontier import draw_frontier
from despur.report.heat import draw_heat
from despur.report.league import draw_league, league_table
from despur.report.panels import draw_panels
from despur.report.stairs import draw_attainment
from despur.report.study import Attainment, Block, Claims, League, Panels
from despur.report.svg import Drawing
from despur.report.tables import ROWS, Omissions, claims_view, table_view
from despur.report.text import clean
from despur.report.wording import asked, differing

LONG, SAMPLE, NOTE = 20_000, 4_000, 2_000  # characters of a text, of one sample, of a note or fact
_NOTHING = "nothing of it was measured"


def view_of(block: Block, ident: str, order: Mapping[str, int], omitted: Omissions) -> dict[str, Any] | None:
    """What the template needs of a block; None where it has nothing to show.

    Args:
        block: The block.
        ident: Its name in the page's links.
        order: Name -> number of its colour.
        omitted: Is given what has nothing to show, with the reason.
    """
    match block:
        case Omitted():
            omitted += [(clean(what), clean(why, NOTE)) for what, why in block.rows]
            return None
        case Text():
            return {"kind": "text", "ident": ident, "title": clean(block.title), "paragraphs": _paragraphs(block.body)}
        case Verdict():
            beside = [(clean(name), clean(text, NOTE)) for name, text in block.beside]
            return {
                "kind": "verdict", "title": "", "ident": ident, "word": clean(block.word),
                "sentence": _sentence(clean(block.sentence, NOTE)), "tone": clean(block.tone), "beside": beside,
            }  # fmt: skip
        case Claims():
            view = claims_view(block)
        case _:
            view = _speech_or_figures(block, ident, order, omitted)
    drawing: Drawing | None = view.get("drawing")
    missing = clean(block.missing) if isinstance(block, Frontier) else ""
    if (drawing.nothing if drawing else not (view.get("rows") or view.get("turns"))) and block.title:
        omitted.append(
            (
                clean(block.title),
                missing or (f"not measured: {'; '.join(drawing.missing)}" if drawing and drawing.missing else _NOTHING),
            )
        )
        return None
    kind = "chart" if drawing else type(block).__name__.lower()
    return {
        "kind": kind,
        "title": clean(block.title),
        "note": clean(block.note, NOTE),
        "ident": ident,
        "missing": missing,
        **view,
    }


def _speech_or_figures(block: Block, ident: str, order: Mapping[str, int], omitted: Omissions) -> dict[str, Any]:
    match block:
        case Table():
            return table_view(block, omitted)
        case Samples():
            rows = [[clean(text, SAMPLE) for text in row] for row in block.rows[:ROWS]]
            columns = _padded(list(map(clean, block.columns)), max(map(len, rows), default=0), "")
            return {"columns": columns, "rows": rows, "cut": max(0, len(block.rows) - ROWS)}
        case Dialogue():
            return _dialogue(block)
        case Frontier():
            return {"drawing": draw_frontier(block, ident)}
        case Bars():
            return {"drawing": draw_bars(block, ident)}
        case Curves():
            return {"drawing": draw_curves(block, ident, order)}
        case Heat():
            return {"drawing": draw_heat(block, ident)}
        case Attainment():
            return {"drawing": draw_attainment(block, ident, order)}
        case Panels():
            return {"drawing": draw_panels(block, ident, order)}
        case League():
            return {"chart": draw_league(block, ident, order), **table_view(league_table(block), omitted)}
        case _:
            raise TypeError(f"{type(block).__name__} is no block of a page; give one of {Block}")


def _dialogue(block: Dialogue) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for question, answers in block.turns[:ROWS]:
        question, whole = asked(question)
        texts = [clean(answer, SAMPLE) for answer in answers]
        pieces = [[(text, False)] if i == 0 else differing(text, texts[0]) for i, text in enumerate(texts)]
        turns.append({"question": clean(question, NOTE), "whole": clean(whole, SAMPLE), "answers": pieces})
    speakers = _padded(list(map(clean, block.speakers)), max((len(t["answers"]) for t in turns), default=0), "")
    marked = any(differs for turn in turns for pieces in turn["answers"] for _, differs in pieces)
    return {
        "speakers": speakers,
        "turns": turns,
        "cut": max(0, len(block.turns) - ROWS),
        "open": max(1, block.open),
        "marked": marked,
    }


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?]…" else ".")


def _paragraphs(body: str) -> list[str]:
    text = clean(body, LONG).replace("\r\n", "\n").replace("\r", "\n")
    return [part.strip("\n") for part in re.split(r"\n[ \t]*\n", text) if part.strip()]


def _padded(row: list[str], width: int, filler: str) -> list[str]:
    return row + [filler] * (width - len(row))
