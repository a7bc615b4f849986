"""The page of a run again, of any kind of run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from despur.core.errors import BadInput
from despur.flows._compare.compare import judge_again
from despur.flows._compare.plan import FILE as PLAN
from despur.flows._compare.study import Study
from despur.flows.verb import verb
from despur.report import Page

PAGE, SAVED = "report.html", "report.json"


@dataclass(frozen=True)
class Rewritten:
    """A page that was written again.

    Args:
        page: The HTML file.
        content: What it was written from.
    """

    page: Path
    content: Page

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return self.content.to_dict()


@verb
def report(run: Path | str) -> Study | Rewritten:
    """Write the page of a run's folder again, whatever kind of run it was; of a study, judge its runs first.

    A study's folder may be complete or not: its tables and its page are made from the runs that there are. Any other page is made from
    the `report.json` that stands beside it.

    Args:
        run: Folder of a run, an audit, a demo, a comparison or a proof; or its page.

    Returns:
        A `Study`, or a page and its content; each has its `page`.

    Raises:
        BadInput: no run there, or one of another version.

    Example:
        $ despur report runs/compare
        $ despur report audit/ --open
        $ despur report audit/ --format md > comment.md
        >>> # report("audit/").page
    """
    folder = Path(run).parent if Path(run).name in (PAGE, SAVED) else Path(run)
    if (folder / PLAN).exists():
        return judge_again(folder)
    saved = folder / SAVED
    if not saved.is_file():
        again = (
            " Its run.json makes it again: despur run"
            if (folder / "run.json").is_file()
            else " Give the folder of a run"
        )
        raise BadInput(
            f"{str(folder)!r} has no readable plan of a study ({PLAN}) and no {SAVED}, so there is no report to write.{again}"
        )
    content = Page.read(saved)
    content.write(folder / PAGE)
    return Rewritten(folder / PAGE, content)
