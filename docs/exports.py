"""Export every method from its room: write the lines in each room's `__init__`; with --check, say whether they are there."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

SRC = Path(__file__).parents[1] / "src" / "despur"
ROOMS = (
    "guard",
    "steer",
    "unlearn",
    "merge",
    "measure",
)  # find and latent give their estimators when they are asked for, and are written by hand


def methods(room: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of each function that a room's files enter into the catalogue."""
    for path in sorted(room.glob("[!_]*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            calls = [d.func for d in getattr(node, "decorator_list", ()) if isinstance(d, ast.Call)]
            if isinstance(node, ast.FunctionDef) and any(isinstance(f, ast.Name) and f.id == "method" for f in calls):
                yield path.stem, node.name


def exported(room: str, text: str) -> str:
    """Give a room's `__init__` with the methods that it lacks."""
    for module, name in methods(SRC / room):
        if not re.search(rf"^from despur\.{room}\.{module} import .*\b{name}\b", text, re.MULTILINE):
            line = f"from despur.{room}.{module} import {name}\n"
            after = [m for m in re.finditer(r"^from \S+ import .*\n", text, re.MULTILINE) if m[0] < line]
            at = after[-1].end() if after else text.index("from ")
            text = text[:at] + line + text[at:]
        start = text.index("__all__ = [") + len("__all__ = [")
        end = text.index("]", start)
        names = re.findall(r'"(\w+)"', text[start:end])
        if name not in names:
            names = sorted([*names, name], key=lambda n: (not n.isupper(), not n[0].isupper(), n))
            text = text[:start] + "\n" + "".join(f'    "{n}",\n' for n in names) + text[end:]
    return text


if __name__ == "__main__":
    for room in ROOMS:
        path = SRC / room / "__init__.py"
        now = path.read_text(encoding="utf-8")
        if exported(room, now) == now:
            continue
        if "--check" in sys.argv:
            sys.exit(f"{room}/__init__.py lacks a method: run `make sync`")
        path.write_text(exported(room, now), encoding="utf-8")
