"""Execute the notebooks and write their outputs: `python docs/notebooks.py [NAME ...]`. Cells run in one namespace, without Jupyter."""

import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import despur

FOLDER = Path(__file__).with_name("notebooks")
HERE = str(Path(despur.__file__).parent)  # models in memory are named by the path they were loaded from


def execute(notebook: Any) -> dict[str, Any]:
    """Run the code cells from top to bottom, fill in their outputs, and give the namespace."""
    space: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, cell in enumerate(cells, 1):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            value = _run("".join(cell["source"]), f"cell {number}", space)
        cell["execution_count"] = number
        cell["outputs"] = [*_stream(printed.getvalue()), *_shown(value, number)]
    return space


def _run(source: str, name: str, space: dict[str, Any]) -> Any:
    """Give the value of the last line, where it is an expression."""
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), space)
    return eval(compile(ast.Expression(last.value), name, "eval"), space) if last else None


def _stream(text: str) -> list[dict[str, Any]]:
    return [{"name": "stdout", "output_type": "stream", "text": _lines(text)}] if text else []


def _shown(value: Any, number: int) -> list[dict[str, Any]]:
    if value is None:
        return []
    shown = {"text/plain": _lines(repr(value))}
    if hasattr(value, "_repr_html_"):
        shown = {"text/html": _lines(value._repr_html_()), **shown}
    return [{"data": shown, "execution_count": number, "metadata": {}, "output_type": "execute_result"}]


def _lines(text: str) -> list[str]:
    return text.replace(HERE, "despur").splitlines(keepends=True)


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not sys.argv[1:] or path.stem in sys.argv[1:]:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            execute(notebook)
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
