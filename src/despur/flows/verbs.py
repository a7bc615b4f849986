"""The list of verbs; to list them imports none of them, and so no torch."""

import ast
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from despur import flows
from despur.flows.docstring import read_docstring

VERBS = {  # command -> name in `despur.flows`
    "demo": "demo", "fetch": "fetch", "audit": "audit", "calibrate": "calibrate", "clean": "clean", "train": "train", "absorb": "absorb",
    "verify": "verify", "scan": "scan",
    "compare": "compare", "report": "report", "prove": "prove", "table": "table", "fit": "fit", "apply": "apply",
    "run": "replay", "library add": "add_to_library",
    "library compare": "compare_with_library", "library export": "export_from_library",
    "library ls": "list_library", "library remove": "remove_from_library",
}  # fmt: skip
# those that write a `run.json`
RECORDED = ("demo", "audit", "calibrate", "clean", "train", "absorb", "compare", "fit", "prove")


def find_verb(command: str) -> Callable[..., Any]:
    """Import the function behind a command."""
    return getattr(flows, VERBS[command])


def headline(command: str) -> str:
    """Read the first line of a verb's docstring from its source."""
    name = VERBS[command]
    module = next(module for module, names in flows.WHERE.items() if name in names)
    return headline_in(f"despur.flows.{module}", name)


def headline_in(module: str, function: str) -> str:
    """Read the first line of a function's docstring from the source of a module that is not imported."""
    spec = find_spec(module)
    source: Any = spec.loader.get_source(module) if spec else None  # type: ignore[union-attr]
    tree = ast.parse(source)
    node = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function)
    return read_docstring(ast.get_docstring(node)).summary
