"""The first blocks of a page as a piece of HTML without a style of its own, for a notebook."""

from collections.abc import Sequence

from markupsafe import Markup, escape

from despur.report.blocks import Dialogue, Samples, Table, Text, Verdict
from despur.report.league import league_table
from despur.report.study import Block, League
from despur.report.text import clean, show
from despur.report.wording import asked, differing

ROWS, LONG = 12, 600  # of a table, and characters of an answer


def fragment(blocks: Sequence[Block], page: str = "") -> str:
    """Write what can be written without a style: verdict, answers, tables, text.

    Args:
        blocks: From top to bottom; charts are left out.
        page: Where the whole page is; "" for none.

    Example:
        >>> fragment([Verdict("clean", "it <hardly> changes", "good")])
        '<div><h4>clean</h4><p>it &lt;hardly&gt; changes</p></div>'
    """
    parts = [part for block in blocks for part in _parts(block)]
    if page:
        parts.append(Markup("<p>The whole page: <code>{}</code></p>").format(clean(page)))
    return str(Markup("<div>{}</div>").format(Markup("").join(parts)))


def _parts(block: Block) -> list[Markup]:
    match block:
        case Verdict():
            beside = [
                Markup("<p><strong>{}</strong>: {}</p>").format(clean(n), clean(t, 2000)) for n, t in block.beside
            ]
            return [Markup("<h4>{}</h4><p>{}</p>").format(clean(block.word), clean(block.sentence, 2000)), *beside]
        case Text():
            return [_head(block.title), Markup("<p>{}</p>").format(clean(block.body, 2000))]
        case Dialogue():
            header, rows = ["", *block.speakers], [_turn(q, answers) for q, answers in block.turns[: block.open]]
            return [_head(block.title), _table(header, rows)]
        case Samples():
            return [
                _head(block.title),
                _table(block.columns, [[escape(clean(t, LONG)) for t in row] for row in block.rows[:ROWS]]),
            ]
        case Table():
            rows = [[escape(show(cell)) for cell in row] for row in block.rows[:ROWS]]
            return [_head(block.title), _table(block.header, rows)] if rows else []
        case League():
            return _parts(league_table(block))
        case _:
            return []


def _turn(question: str, answers: Sequence[str]) -> list[Markup]:
    texts = [clean(answer, LONG) for answer in answers]
    marked = [Markup("").join(Markup("<mark>{}</mark>").format(p) if i and new else escape(p) for p, new in differing(t, texts[0]))
            for i, t in enumerate(texts)]  # fmt: skip
    return [escape(clean(asked(question).question, LONG)), *marked]


def _head(title: str) -> Markup:
    return Markup("<h5>{}</h5>").format(clean(title)) if title else Markup("")


def _table(header: Sequence[str], rows: Sequence[Sequence[Markup]]) -> Markup:
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(clean(name)) for name in header)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup('<td style="text-align: left">{}</td>').format(cell) for cell in row)
        )
        for row in rows
    )
    return Markup("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, body)
