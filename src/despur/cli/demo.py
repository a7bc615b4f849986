"""What `despur demo` prints."""

from typing import Any

from despur.cli.view import View, out_console, print_axes


def show(result: Any, given: Any) -> None:
    """The axes, and what they mean."""
    raw = {arm: means["drift.p"] for arm, means in result.means.items()}
    print_axes(result.axes, ("task", "drift", "legitimate", "validity"), raw)
    out_console.print(
        "Base is (0, 0), the naive run (1, 1), the ideal (1, 0); ± is half a 95 % interval over prompts.\n"
        "Legitimate use and validity are shares of the base's. P(bad): how often subjects\n"
        "that the data never touch are answered in the hidden bad persona.\n"
        f"Report: [bold]{result.page}[/bold]", highlight=False,
    )  # fmt: skip


VIEWS = {"demo": View(show)}
