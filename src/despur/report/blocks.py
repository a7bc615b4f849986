"""Blocks of a page. Every string is printed as text, never as markup; None and NaN as a dash."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Number = float | int
Cell = str | float | int | None
MISSING = "not measured"


@dataclass(frozen=True)
class Text:
    """Plain text; an empty line begins a new paragraph."""

    title: str
    body: str


@dataclass(frozen=True)
class Verdict:
    """The answer, first on a page.

    Args:
        word: In a word.
        sentence: In a sentence.
        tone: Its colour and sign.
        beside: What a decision needs beside it, as a label and a sentence: how sure it is, against which control, what to do.
    """

    word: str
    sentence: str
    tone: Literal["good", "bad", "unsure"]
    beside: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names its row.

    Args:
        title: Above it; "" for none.
        header: One per column.
        rows: Numbers have three digits, integers all; a short row ends in dashes.
        note: Below it, small.
        best: Rows to emphasise, by index.
        missing: Why a cell is a dash; a column of nothing else is left out, and the page's last section says so.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    best: Sequence[int] = ()
    missing: str = MISSING


@dataclass(frozen=True)
class Point:
    """One run on the frontier, in shares of what the naive run did.

    Args:
        name: Its label.
        task: How much of the task it learned.
        drift: How much of the hidden factor was learned, too.
        task_interval: Low and high; NaN for none.
        drift_interval: Low and high; NaN for none.
        control: Drawn hollow.
        accepted: False draws it grey: legitimate use or validity fell under its limit.
    """

    name: str
    task: Number
    drift: Number
    task_interval: tuple[Number, Number]
    drift_interval: tuple[Number, Number]
    control: bool = False
    accepted: bool = True


@dataclass(frozen=True)
class Frontier:
    """Task against drift; the frozen base is (0, 0), the naive run (1, 1), the goal (1, 0).

    Args:
        title: Above it; "" for none.
        points: Runs.
        note: Below it, small.
        missing: Why there is nothing to draw, or why a point is not there.
    """

    title: str
    points: Sequence[Point]
    note: str = ""
    missing: str = MISSING


@dataclass(frozen=True)
class Bars:
    """Horizontal bars: name, value, low, high. The first is what is judged, the others what it is compared with."""

    title: str
    bars: Sequence[tuple[str, Number, Number | None, Number | None]]
    note: str = ""


@dataclass(frozen=True)
class Curves:
    """Lines over a common axis, with gaps where a value is NaN.

    Args:
        title: Above it; "" for none.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        lines: Name, x values, y values.
        note: Below it, small.
    """

    title: str
    x_label: str
    y_label: str
    lines: Sequence[tuple[str, Sequence[Number], Sequence[Number]]]
    note: str = ""


@dataclass(frozen=True)
class Heat:
    """A grid of numbers as colours about zero; an empty cell is a dash.

    Args:
        title: Above it; "" for none.
        rows: Name of each row.
        columns: Name of each column; drawn where there is room.
        values: A row of numbers for each; NaN or None for an empty cell.
        note: Below it, small.
        deepest: Size of the deepest shade, and of all beyond it; the largest there is if None.
    """

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[Number | None]]
    note: str = ""
    deepest: Number | None = None


@dataclass(frozen=True)
class Samples:
    """Model text side by side, as it was written: monospace, wrapped, escaped.

    Args:
        title: Above it; "" for none.
        columns: Names of the writers.
        rows: One text per column.
        note: Below it, small.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Dialogue:
    """Questions, and what several models answer to each, side by side, as people read it.

    Words in which an answer differs from the first speaker's are marked; a chat template around a question is behind a fold.

    Args:
        title: Above it; "" for none.
        speakers: Names of the models, the one that the others are compared with first.
        turns: A question, and one answer a speaker.
        note: Below it, small.
        open: Turns in view; the others are behind a fold.
    """

    title: str
    speakers: Sequence[str]
    turns: Sequence[tuple[str, Sequence[str]]]
    note: str = ""
    open: int = 4


@dataclass(frozen=True)
class Omitted:
    """What is not on a page, and why; all of these stand together, last."""

    rows: Sequence[tuple[str, str]]


Plain = Text | Verdict | Table | Frontier | Bars | Curves | Heat | Samples | Dialogue | Omitted
