"""Blocks → one HTML file, and the same blocks as JSON beside it."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from despur.core.disk.files import read_json, write_bytes, write_json
from despur.core.errors import BadInput
from despur.report.block_json import blocks_from_json, blocks_to_json
from despur.report.order import colour_order
from despur.report.sizes import FITS
from despur.report.study import Block
from despur.report.tables import Omissions
from despur.report.text import clean
from despur.report.view import NOTE, view_of

CONTENTS = 7  # titles, from which on a page has a list of them
SCHEMA = "despur.report/1"


@dataclass(frozen=True)
class Page:
    """A report: what its HTML, its Markdown and its JSON are written from.

    Args:
        title: Title of the page.
        subtitle: Below the title; "" for none.
        blocks: The page from top to bottom.
        facts: Facts to run it again: versions, seed, digests.
        command: The command that makes it again; "" where there is none.
    """

    title: str
    subtitle: str
    blocks: Sequence[Block]
    facts: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def html(self) -> str:
        """The page: it loads nothing, runs nothing and prints every string as text; the same blocks give the same page.

        Raises:
            TypeError: something that is no block.
            ValueError: a line of a chart has unequal numbers of x and y values.
        """
        omitted: Omissions = []
        order = colour_order(self.blocks)
        views = [view_of(block, f"b{i}", order, omitted) for i, block in enumerate(self.blocks)]
        seen = [view for view in views if view is not None]
        titled = [(view["ident"], view["title"]) for view in seen if view["title"]]
        titled += [("omitted", "What is not on this page, and why")] if omitted else []
        first = next((i for i, view in enumerate(seen, 1) if view["kind"] != "verdict"), 0)  # what follows the verdict
        return _template().render(
            first=first, fits=FITS,
            title=clean(self.title), subtitle=clean(self.subtitle, NOTE), blocks=seen, omitted=list(dict.fromkeys(omitted)),
            contents=[*titled, ("made", "How this was made")] if len(titled) >= CONTENTS else [], command=clean(self.command, NOTE),
            facts=[(clean(name), clean(value, NOTE)) for name, value in self.facts.items()],
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA, "title": self.title, "subtitle": self.subtitle, "command": self.command, "facts": dict(self.facts),
            "blocks": blocks_to_json(self.blocks),
        }  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Read what `write` left beside a page.

        Raises:
            BadInput: the file cannot be read, or is no report that despur wrote.
        """
        saved = read_json(path)
        if not isinstance(saved, dict) or saved.get("schema") != SCHEMA:
            raise BadInput(
                f"{str(path)!r} is no report of this version ({SCHEMA}). Run the command again that made the folder"
            )
        texts = [saved.get(name) for name in ("title", "subtitle", "command")]
        facts: Any = saved.get("facts")
        if not all(isinstance(t, str) for t in texts) or not isinstance(facts, dict):
            raise BadInput(f"{str(path)!r} lacks a title or facts. Is it as despur wrote it?")
        title, subtitle, command = map(str, texts)
        blocks = blocks_from_json(saved.get("blocks"), repr(str(path)))
        return cls(title, subtitle, blocks, {str(k): str(v) for k, v in facts.items()}, command)

    def write(self, path: Path) -> None:
        """Write the page, and its JSON beside it, each whole or not at all: after an error an older one is unchanged.

        Raises:
            BadInput: a file cannot be written.
            TypeError, ValueError: see `html`.
        """
        page = self.html()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f"writing {str(path)!r} failed: {error.strerror or error}. Free some room or choose another -o"
            ) from error
        write_bytes(path, page.encode("utf-8", "replace"))
        write_json(path.with_suffix(".json"), self.to_dict())


def write_page(
    path: Path, *, title: str, subtitle: str, blocks: Sequence[Block], facts: Mapping[str, str], command: str = ""
) -> None:
    """Write a page that loads nothing, runs nothing and prints every string as text, and its JSON beside it.

    The same arguments give the same bytes. Long texts and tables are cut, with a note. The file gets its
    name when it is complete: after an error an older one is unchanged.

    Args:
        path: The HTML file; its folder is made.
        title: Title of the page.
        subtitle: Below the title; "" for none.
        blocks: The page from top to bottom.
        facts: Facts to run it again: versions, seed, digests.
        command: The command that makes it again.

    Raises:
        BadInput: a file cannot be written.
        TypeError: something that is no block.
        ValueError: a line of a chart has unequal numbers of x and y values.

    Example:
        >>> from despur.report import Text
        >>> page = tmp_path / "audit.html"
        >>> write_page(page, title="Audit", subtitle="", blocks=[Text("Why", "<b>")], facts={"seed": "0"})
        >>> "&lt;b&gt;" in page.read_text(encoding="utf-8")
        True
    """
    Page(title, subtitle, tuple(blocks), facts, command).write(Path(path))


@functools.cache
def _template() -> Any:
    folder = PackageLoader("despur.report", "")
    room = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return room.get_template("page.html.j2")
