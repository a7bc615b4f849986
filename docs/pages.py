"""Pages of the site whose text stands elsewhere in the tree: a hook of mkdocs, so that no copy is kept."""

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "docs" / "notebooks"


def changelog() -> str:
    """Give CHANGELOG.md with its links as the site has them."""
    return re.sub(r"\]\(docs/", "](", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


def notebook(path: Path) -> str:
    """Give a notebook with its outputs as they are, and a link to the file."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    title, _, rest = _text(cells[0]).partition("\n")
    load = f"[This page as a notebook]({path.name})"
    return "\n\n".join([title, load, rest.strip(), *(part for cell in cells[1:] for part in _parts(cell))]) + "\n"


def _parts(cell: Any) -> list[str]:
    if cell["cell_type"] == "markdown":
        return [_text(cell)]
    shown = [_output(output) for output in cell["outputs"]]
    return [f"```python\n{_text(cell)}\n```", *shown]


def _output(output: Any) -> str:
    if "data" not in output:
        return "```text\n" + "".join(output["text"]).rstrip() + "\n```"
    if "text/html" in output["data"]:
        html = "".join(output["data"]["text/html"])
        html = re.sub(
            r"<style.*?</style>|\s+(?:border|class)=\"[^\"]*\"", "", html, flags=re.DOTALL
        )  # the site has its own
        html = re.sub(r">\s+<", "><", html)  # a blank line would end it
        return f"<div>{html}</div>"
    return "```text\n" + "".join(output["data"]["text/plain"]) + "\n```"


def _text(cell: Any) -> str:
    return "".join(cell["source"])


PAGES: dict[str, Callable[[], str]] = {
    "changelog.md": changelog,
    **{f"notebooks/{path.stem}.md": partial(notebook, path) for path in sorted(NOTEBOOKS.glob("*.ipynb"))},
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages; mkdocs calls it by this name."""
    from mkdocs.structure.files import File

    for page, text in PAGES.items():
        files.append(File.generated(config, page, content=text()))
    return files
