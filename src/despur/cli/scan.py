"""What `despur scan` prints."""

from typing import Any

from despur.cli.terminal import say
from despur.cli.view import View, say_verdict
from despur.core.visible import visible

TONES = {"findings": "yellow", "nothing unusual": "green"}
FOUND = 3  # exit status of errors and warnings


def show(result: Any, given: Any) -> None:
    """The verdict, every finding, and what the weights alone cannot say."""
    say_verdict(result, TONES)
    for finding in result.findings:
        say(f"{finding.level}, {finding.rule}: {visible(finding.sentence, one_line=True)}")
    for note in result.notes:
        say(f"Not known: {note}", "dim")


VIEWS = {
    "scan": View(
        show, status=lambda result, given: FOUND if result.verdict == "findings" else 0,
        broken=lambda given, error: {"verdict": "unreadable", "sentence": str(error)},
        note="**Exit status**: 0, or 3 where a finding is a warning or an error, or 2 where nothing can be read.",
    )
}  # fmt: skip
