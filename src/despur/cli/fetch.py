"""What `despur fetch` prints."""

from typing import Any

from despur.cli.terminal import out_console, say, say_parts
from despur.cli.view import View, table


def show(known: Any, given: Any) -> None:
    """Where the base is, or what there is to fetch."""
    if given["name"] is None:
        made = table("name", "what it is", "MB", "licence", "here", left=2)
        for base in known:
            made.add_row(base.name, base.what, f"{base.size / 1e6:.0f}", base.licence, base.folder or "not yet")
        out_console.print(made)
        return
    (base,) = known
    say_parts([(base.name, "bold"), " was fetched into " if base.new else " is there already: ", base.folder or ""])
    say(f"Use it by its name: despur sites {base.name}", "dim")


VIEWS = {"fetch": View(show, plain=lambda known, given: [base.to_dict() for base in known])}
