"""A table as the template needs it: texts, padding that aligns decimal points, and the room that it takes."""

import re
from collections.abc import Sequence
from typing import Any

from despur.report.blocks import Cell, Table
from despur.report.sizes import fit_class, unbroken
from despur.report.study import Claims
from despur.report.text import MISSING, clean, measured, show

ROWS = 500  # rows of a table
_FIGURE = re.compile(r"[-−<≤>≥]?\s?\d[\d\s.,%×x/()\[\]−–-]*")  # a string that reads as a number
Omissions = list[tuple[str, str]]


def table_view(block: Table, omitted: Omissions) -> dict[str, Any]:
    """What the template needs of a table.

    Args:
        block: The table.
        omitted: Is given the columns of which nothing is known, which are left out.
    """
    width = max([len(block.header), *map(len, block.rows[:ROWS])])
    cells: list[list[Cell]] = [_padded(list(row), width, None) for row in block.rows[:ROWS]]
    header = _padded(list(map(clean, block.header)), width, "")
    known = [j == 0 or not cells or any(not _is_nothing(row[j]) for row in cells) for j in range(width)]
    names = [name for name, there in zip(header, known, strict=True) if not there and name]
    if names:
        where = f" of {clean(block.title)}" if block.title else ""
        omitted.append((f"column{'s' * (len(names) > 1)} {', '.join(names)}{where}", block.missing))
    cells = [[cell for cell, there in zip(row, known, strict=True) if there] for row in cells]
    header = [name for name, there in zip(header, known, strict=True) if there]
    texts = [[show(cell) for cell in row] for row in cells]
    right = [bool(cells) and all(_is_figure(row[j]) for row in cells) for j in range(len(header))]
    pads = [_pads([row[j] for row in cells], [row[j] for row in texts]) for j in range(len(header))]
    rows = [
        {"best": i in block.best, "cells": [(text, pads[j][i] if right[j] else "") for j, text in enumerate(row)]}
        for i, row in enumerate(texts)
    ]
    looks = ["figure" if r else "whole" * unbroken([row[j] for row in texts]) for j, r in enumerate(right)]
    dash = any(_is_nothing(cell) for row in cells for cell in row)
    return {
        "header": header, "rows": rows, "looks": looks, "cut": max(0, len(block.rows) - ROWS), "fit": fit_class(header, texts, right),
        "dash": clean(block.missing) if dash else "",
    }  # fmt: skip


def claims_view(block: Claims) -> dict[str, Any]:
    """What the template needs of published claims."""
    rows = [
        {
            "claim": clean(row.claim), "source": clean(row.source), "published": clean(row.published), "ours": clean(row.ours),
            "verdict": clean(row.verdict), "note": clean(row.note),
        }
        for row in block.rows[:ROWS]
    ]  # fmt: skip
    return {"rows": rows, "cut": max(0, len(block.rows) - ROWS)}


def _padded(row: list[Any], width: int, filler: Any) -> list[Any]:
    return row + [filler] * (width - len(row))


def _is_nothing(cell: Cell) -> bool:
    return show(cell) == MISSING


def _is_figure(cell: Cell) -> bool:
    return cell is None or not isinstance(cell, str) or bool(_FIGURE.fullmatch(cell)) or cell in ("", "–", "-")


def _pads(cells: Sequence[Cell], texts: Sequence[str]) -> list[str]:
    """Invisible padding after each number of a column, so that decimal points are aligned."""
    plain = [measured(cell) and "e" not in text for cell, text in zip(cells, texts, strict=True)]
    tails = [text[text.find(".") :] if "." in text else "" for text in texts]
    longest = max((len(t) for t, ok in zip(tails, plain, strict=True) if ok), default=0)
    return [("." + "0" * longest)[len(t) : longest] if ok else "" for t, ok in zip(tails, plain, strict=True)]
