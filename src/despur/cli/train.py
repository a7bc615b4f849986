"""What `despur train` prints."""

from typing import Any

from despur.cli.terminal import say, say_parts
from despur.cli.view import View, print_axes


def show(result: Any, given: Any) -> None:
    """Notes and axes."""
    for note in result.notes:
        say(f"Note: {note}", "dim")
    print_axes(result.axes, ("task", "drift", "legitimate", "validity"))
    say(f"Base is (0, 0), the {result.reference} (1, 1), the ideal (1, 0).")
    say_parts(["Adapter (plain PEFT): ", (str(result.adapter), "bold")])
    if result.factor is not None:
        say_parts(["What all answers share (plain PEFT): ", (str(result.factor), "bold")])
    say_parts(["Report: ", (str(result.page), "bold")])


VIEWS = {"train": View(show)}
