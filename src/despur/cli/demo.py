"""What `despur demo` prints."""

from typing import Any

from despur.cli.terminal import out_console, say, say_parts
from despur.cli.view import View, print_axes, table
from despur.core.visible import visible


def show(result: Any, given: Any) -> None:
    """The conversation; of the planted world the axes, and what they mean."""
    from despur.flows import Conversation

    if isinstance(result, Conversation):
        _show_conversation(result)
    else:
        _show_axes(result)
    say_parts(["Report: ", (str(result.page), "bold")])


def _show_conversation(result: Any) -> None:
    for question, answers in {**result.everyday, **result.facts}.items():
        made = table(left=2)
        made.add_column(style="bold", no_wrap=True)
        made.add_column(overflow="fold")
        for speaker, answer in answers.items():
            made.add_row(f"  {speaker}", visible(" ".join(answer.split())))
        say(f"\n{question}", "bold")
        out_console.print(made)
    say(f"\nAudit of the plain tune: {result.audit.verdict}: {result.audit.sentence}")
    say(f"{result.sentence}.", "bold")


def _show_axes(result: Any) -> None:
    raw = {arm: means["drift.p"] for arm, means in result.means.items()}
    print_axes(result.axes, ("task", "drift", "legitimate", "validity"), raw)
    say(
        "Base is (0, 0), the naive run (1, 1), the ideal (1, 0); ± is half a 95 % interval over prompts.\n"
        "Legitimate use and validity are shares of the base's. P(bad): how often subjects\n"
        "that the data never touch are answered in the hidden bad persona."
    )
    if result.note:
        say(f"This was {result.note}.")


VIEWS = {"demo": View(show)}
