"""What `despur fit` and `despur apply` print."""

from typing import Any

from despur.cli.view import View, out_console, say, say_verdict, table

TONES = {"beats its control": "green", "no better than a permuted table": "red", "not measured": "yellow"}


def show(result: Any, given: Any) -> None:
    """The verdict, the table's size and the figures beside their control."""
    say_verdict(result, TONES, notes="Note")
    say(f"{result.rows} rows by {result.columns} columns, {_share(result.empty)} of the cells empty{_aside(result)}")
    if result.reports:
        made = table("held out", "table", "permuted table", "n", "what")
        for name, report in result.reports.items():
            value = f"{report.value:.3g} [{report.low:.3g}, {report.high:.3g}]"
            made.add_row(name, value, f"{report.control:.3g}", f"{report.n} {report.spec['unit of n']}s", report.unit)
        out_console.print(made)
    if result.by_rank:
        ranks = ", ".join(f"{rank} {value:.2f} ({control:.2f})" for rank, (value, control) in result.by_rank.items())
        say(f"Explained by rank, permuted table in brackets: {ranks}")
    say(
        f"Report: {result.folder / 'report.html'}\nFor other rows: despur apply {result.folder} TABLE -o scores.parquet"
    )


def show_scores(result: Any, given: Any) -> None:
    """What was written, and the first rows."""
    say(f"{result.rows} rows by {result.columns} columns, {_share(result.empty)} of the cells empty")
    keys, names = list(result.keys), list(result.scores)[:6]
    made = table(*keys, *names, left=len(keys))
    for i in range(min(result.rows, 8)):
        made.add_row(*(result.keys[k][i] for k in keys), *(f"{result.scores[n][i]:.3g}" for n in names))
    out_console.print(made)
    rest = max(0, result.rows - 8)
    say(f"{f'and {rest} more rows; ' if rest else ''}scores: {result.file}")


def _share(share: float) -> str:
    return f"{100 * share:.1f} %" if share else "none"


def _aside(result: Any) -> str:
    parts = [f"{n} {what}" for n, what in ((result.merged, "values of cells that have several merged"),
                                           (result.left_out, "lines without a name left out")) if n]  # fmt: skip
    return "".join(f"; {part}" for part in parts)


VIEWS = {"fit": View(show), "apply": View(show_scores)}
