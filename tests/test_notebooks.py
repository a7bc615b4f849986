"""The notebooks of docs/notebooks: they run, what they say is so, and their outputs are of such a run."""

import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs/notebooks"
LARGEST = 150_000  # bytes, outputs included


def read(name):
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(notebook):
    return [[sorted(o.get("data", {"text": 0})) for o in cell["outputs"]] for cell in code(notebook)]


def executed(name):
    """The namespace after all cells, and the notebook with the outputs of this run."""
    spec = importlib.util.spec_from_file_location("notebooks", FOLDER.with_suffix(".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    notebook = read(name)
    return module.execute(notebook), notebook


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda p: p.stem)
def test_outputs_are_there_and_small(path):
    assert path.stat().st_size <= LARGEST
    cells = code(read(path.stem))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell["outputs"]) for cell in cells) >= 3


@pytest.mark.slow  # of a kind with faster ones
def test_an_audit_finds_the_planted_persona_and_nothing_in_its_twin():
    space, notebook = executed("audit")
    assert (space["result"].verdict, space["control"].verdict) == ("factors found", "clean")
    assert {"s010", "s011"} <= {token for token, before, now in space["result"].token_use if now > before}
    assert kinds(notebook) == kinds(read("audit"))


@pytest.mark.slow
def test_the_guarded_run_learns_the_task_and_keeps_the_persona_out():
    space, notebook = executed("guard")
    task, drift, asked = (space["table"].iloc[:, i] for i in range(3))
    assert drift["plain run"] > 0.8
    assert drift["guarded run"] < drift["base"] + 0.2
    assert task["guarded run"] > 0.85 > 0.5 > task["base"]
    assert asked["guarded run"] > 0.95
    assert kinds(notebook) == kinds(read("guard"))
