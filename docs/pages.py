"""Pages of the site whose text stands elsewhere in the tree: a hook of mkdocs, so that no copy is kept."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def changelog() -> str:
    """Give CHANGELOG.md with its links as the site has them."""
    return re.sub(r"\]\(docs/", "](", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))


PAGES = {"changelog.md": changelog}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages; mkdocs calls it by this name."""
    from mkdocs.structure.files import File

    for page, text in PAGES.items():
        files.append(File.generated(config, page, content=text()))
    return files
