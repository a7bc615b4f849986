"""What `despur report` prints: where the page is, or the report as Markdown or JSON."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from despur.cli import compare
from despur.cli.terminal import say, say_parts, say_plain
from despur.cli.view import View, print_json


@dataclass(frozen=True)
class Form:
    """How a report is given.

    Args:
        format: html writes the page; md and json print the report on standard output, too, and nothing else.
        open: Open the page in a browser.
    """

    format: Literal["html", "md", "json"] = "html"
    open: bool = False


def show(result: Any, given: Any) -> None:
    """Where the page is, or the report itself."""
    from despur.flows import Rewritten
    from despur.report import Page
    from despur.report.markdown import markdown

    page = Path(result.page)
    if given["format"] == "md":
        say_plain(markdown(Page.read(page.with_suffix(".json"))))
    elif given["format"] == "json":
        print_json(Page.read(page.with_suffix(".json")).to_dict())
    elif isinstance(result, Rewritten):
        say_parts(["Report: ", (str(page), "bold")])
    else:
        compare.show(result, given)
    if given["open"] and not webbrowser.open(page.resolve().as_uri()):
        say(f"No browser was found here; open {page} in one.")


def status(result: Any, given: Any) -> int:
    """1 where a run of a study failed."""
    from despur.flows import Rewritten

    return 0 if isinstance(result, Rewritten) else compare.status(result, given)


VIEWS = {"report": View(show, status=status, more=Form)}
