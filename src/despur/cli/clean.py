"""What `despur clean` prints."""

from pathlib import Path
from typing import Any

from despur.cli.terminal import out_console, say, say_parts
from despur.cli.view import View, figure, say_verdict, table

TONES = {"drift removed": "green", "drift lowered": "yellow", "no drift": "yellow", "no better than random": "red"}

_ABOUT = (
    "Base is (0, 0), the adapter (1, 1); legitimate use and validity are shares of the base's.\n"
    "Reads, writes: share of the update along the factor. Random: the same done to random subspaces.\n"
    "The cheap baseline: what the update does by other routes stays. Not a guard; see despur train."
)


def show(result: Any, given: Any) -> None:
    """The verdict, and every run with the controls."""
    say_verdict(result, TONES, notes="Not verified")
    made = table("run", "task", "drift", "legitimate", "validity", "reads", "writes")
    for run, axes in result.axes.items():
        leak = result.leak.get(run, {})
        cells = [figure(axes.get(n)) for n in ("task", "drift", "legitimate", "validity")]
        cells += [f"{leak[n].value:.2g}" if n in leak else "–" for n in ("read", "write")]
        made.add_row(run, *cells, style="bold" if run == "cleaned" else None)
    out_console.print(made)
    say("Base is (0, 0), the adapter (1, 1). Random: as many other positions." if given["prefix"] else _ABOUT)
    if given["out"] is not None:
        say_parts(["Adapter (plain PEFT): ", (str(result.adapter), "bold")])
        say_parts(["Report: ", (str(Path(given["out"]) / "report.html"), "bold")])


VIEWS = {"clean": View(show)}
