"""A docstring's lines, broken where the terminal ends."""

import re
from textwrap import fill

_SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Example|Source|Differs|Limits):")


_LONG = 75  # a line of a docstring that is longer was broken by the margin


def refilled(doc: str, width: int) -> str:
    """Break a docstring where the terminal ends, in place of where the source did."""
    lines: list[str] = []
    continued = 0  # indent of a sentence's second line, which its section decides
    for line in doc.splitlines():
        header = _SECTION.match(line)
        if header:
            continued = 8 if header[1] in ("Args", "Attributes", "Raises") else 4
        indent = len(line) - len(line.lstrip())
        if lines and len(lines[-1]) > _LONG and line.strip() and not header and indent == continued:
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return "\n".join(line if ">>> " in line else _broken(line, width) for line in lines)


def _broken(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return fill(line, width, subsequent_indent=indent + "  " * bool(indent)) if len(line) > width else line
