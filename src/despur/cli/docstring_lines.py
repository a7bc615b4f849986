"""A docstring's lines, broken where the terminal ends."""

import re
from textwrap import fill

_SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Example|Source|Differs|Limits):")


_LONG = 75  # a line of a docstring that is longer was broken by the margin


def refilled(doc: str, width: int) -> str:
    """Break a docstring where the terminal ends, in place of where the source did."""
    head, args, rest = doc.partition("\n\nArgs:")
    doc = "\n\n".join(_equation(part, width) for part in head.split("\n\n")) + args + rest
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


def broken_signature(signature: str, width: int) -> str:
    """Break a signature between its arguments.

    Example:
        >>> print(broken_signature("hold(text: OwnText, *, strength: Mapping[str, int] = 1) -> Edit", 40))
        hold(text: OwnText, *,
            strength: Mapping[str, int] = 1) -> Edit
    """
    arguments, arrow, gives = signature.partition(") -> ")
    parts = [""]
    for piece in arguments.split(", "):
        inside = parts[-1].count("[") > parts[-1].count("]")  # a type's own comma
        parts = [*parts[:-1], f"{parts[-1]}, {piece}"] if inside else [*parts, piece]
    lines = [parts[1]]
    for number, part in enumerate(parts[2:], 3):
        rest = arrow + gives if number == len(parts) else ","
        if len(f"{lines[-1]}, {part}{rest}") > width:
            lines[-1] += ","
            lines.append(f"    {part}")
        else:
            lines[-1] += f", {part}"
    return "\n".join(lines) + arrow + gives


def _equation(part: str, width: int) -> str:
    """Break an indented paragraph at its gaps, each piece on a line of its own, where it is too wide."""
    lines = part.split("\n")
    if not all(line.startswith("    ") for line in lines) or max(map(len, lines)) <= width:
        return part
    made: list[str] = []
    for line in lines:
        first, *more = re.split(r"\s{3,}", line.strip())
        deep = line.startswith(" " * 16)
        made += [f"{' ' * (8 if deep else 4)}{first}", *(f"{' ' * 8}{piece}" for piece in more)]
    return "\n".join(made)


def _broken(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return fill(line, width, subsequent_indent=indent + "  " * bool(indent)) if len(line) > width else line
