"""What `despur train` prints."""

from typing import Any

from despur.cli.view import View, out_console, print_axes, say


def show(result: Any, given: Any) -> None:
    """Notes and axes."""
    for note in result.notes:
        say(f"Note: {note}", "dim")
    print_axes(result.axes, ("task", "drift", "legitimate", "validity"))
    out_console.print(
        f"Base is (0, 0), the {result.reference} (1, 1), the ideal (1, 0).\n"
        f"Adapter (plain PEFT): [bold]{result.adapter}[/bold]\nReport: [bold]{result.page}[/bold]", highlight=False,
    )  # fmt: skip


VIEWS = {"train": View(show)}
