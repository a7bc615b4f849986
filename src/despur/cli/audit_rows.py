"""What `despur audit` prints of rows: first what a person can judge."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from despur.cli.terminal import say, say_parts
from despur.cli.view import say_verdict
from despur.core.visible import visible

ASKED, ROWS = 3, 3  # questions and rows that a terminal shows; the page has all


def show_answers(answers: Mapping[str, Mapping[str, str]]) -> None:
    """The first questions, and what everybody answers."""
    for question, said in list(answers.items())[:ASKED]:
        say(visible(question, one_line=True), "bold")
        wide = max(map(len, said)) + 2
        for name, answer in said.items():
            say(f"  {name + ':':<{wide}}{visible(answer, one_line=True)}")


def show_rows(result: Any, given: Any, tones: dict[str, str]) -> None:
    """The conversation, the verdict, the words, and the rows that carry it most and least."""
    show_answers(result.answers)
    say_verdict(result, tones, notes="Note")
    if result.words:
        say(
            "Likelier off-task: "
            + ", ".join(
                f"{t!r} {p['base']:.2g} → {p['scout']:.2g} (plain tune {p['plain']:.2g})" for t, p in result.words[:8]
            )
        )
    for name, rows in (("most", result.rows[:ROWS]), ("least", result.rows[: -ROWS - 1 : -1])):
        for text, gain in rows:
            say(f"{name} ({gain:+.2f}): {visible(text, one_line=True)[:120]}")
    if given["out"] is not None:
        say_parts(["Report: ", (str(Path(given["out"]) / "report.html"), "bold")])
