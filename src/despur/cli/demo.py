"""What `despur demo` prints."""

from typing import Any

from despur.cli.terminal import say, say_parts
from despur.cli.view import View, print_axes


def show(result: Any, given: Any) -> None:
    """The axes, and what they mean."""
    raw = {arm: means["drift.p"] for arm, means in result.means.items()}
    print_axes(result.axes, ("task", "drift", "legitimate", "validity"), raw)
    say(
        "Base is (0, 0), the naive run (1, 1), the ideal (1, 0); ± is half a 95 % interval over prompts.\n"
        "Legitimate use and validity are shares of the base's. P(bad): how often subjects\n"
        "that the data never touch are answered in the hidden bad persona."
    )
    say_parts(["Report: ", (str(result.page), "bold")])


VIEWS = {"demo": View(show)}
