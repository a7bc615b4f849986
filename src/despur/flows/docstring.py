"""Docstrings of the project, read for help pages: text, options, examples."""

import re
from dataclasses import dataclass
from inspect import cleandoc

_SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Example|Source|Differs|Limits):")
_ENTRY = re.compile(r" {4}(\w+): ?(.*)")


@dataclass(frozen=True, slots=True)
class Docstring:
    """The parts of a docstring.

    Args:
        summary: Its first line.
        text: What stands before the first section, the summary included.
        options: Name -> what `Args:` says of it, on one line.
        commands: Lines of `Example:` that begin with `$`, as typed into a shell.
    """

    summary: str
    text: str
    options: dict[str, str]
    commands: tuple[str, ...]


def read_docstring(doc: str | None) -> Docstring:
    r"""Take a docstring apart.

    Example:
        >>> read_docstring("Do it.\n\n    Args:\n        n: How\n            often.").options
        {'n': 'How often.'}
    """
    sections: dict[str, list[str]] = {"": []}
    lines = sections[""]
    for line in cleandoc(doc or "").splitlines():
        if _SECTION.match(line):
            lines = sections.setdefault(line.partition(":")[0], [])
        else:
            lines.append(line)
    options: dict[str, str] = {}
    name = ""
    for line in sections.get("Args", ()):
        if entry := _ENTRY.fullmatch(line):
            name = entry[1]
            options[name] = entry[2]
        elif line.strip():
            options[name] = f"{options[name]} {line.strip()}"
    text = "\n".join(sections[""]).strip()
    commands = (line.strip() for line in sections.get("Example", ()))
    return Docstring(
        text.partition("\n")[0], text, options, tuple(c.removeprefix("$ ") for c in commands if c.startswith("$ "))
    )
