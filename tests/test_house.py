"""The rules of the house: arrows, sizes, names, docstrings, and a light import."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from despur.core import methods
from despur.core.claim import find_claim

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ROOMS = (
    "core",
    "find",
    "guard",
    "judge",
    "latent",
    "measure",
    "merge",
    "steer",
    "unlearn",
    "worlds",
    "report",
    "flows",
    "solve",
    "testing",
)
FORBIDDEN = {"utils", "util", "helpers", "common", "misc"}
SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example", "Source", "Differs", "Limits")  # in this order
ELSEWHERE = re.compile(r"(?<!\w)/(work|root|home/\w+|tmp/\w+)/|\.\./shared|bash_jobs")  # places on one machine only


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def public(room: str) -> dict[str, object]:
    module = importlib.import_module(f"despur.{room}")
    return {name: getattr(module, name) for name in getattr(module, "__all__", ())}


def documented() -> dict[str, object]:
    """Every public function and class of the rooms, with the public methods that a class defines itself."""
    found: dict[str, object] = {}
    for room in ROOMS:
        for name, value in public(room).items():
            if inspect.isclass(value):
                own = {n: getattr(v, "__func__", v) for n, v in vars(value).items() if not n.startswith("_")}
                found |= {f"{room}.{name}.{n}": v for n, v in own.items() if inspect.isfunction(v)}
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{room}.{name}"] = value
    return found


def sections(thing: object) -> dict[str, str]:
    """Split a docstring into its sections; the text before the first is ""."""
    parts, head = {"": ""}, ""
    for line in (inspect.getdoc(thing) or "").splitlines(keepends=True):
        if line.split(":")[0] in SECTIONS:
            head = line.split(":")[0]
            parts[head] = ""
        parts[head] += line
    return parts


def arguments(thing: object) -> set[str]:
    """Name the public arguments of a function or class."""
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return set()
    given = inspect.signature(thing).parameters  # type: ignore[arg-type]
    return {name for name in given if name not in ("self", "cls") and not name.startswith("_")}


def test_imports_go_one_way():
    done = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_file_is_short_and_named_for_what_it_does(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 200, "one file, one idea: split it"
    assert not {part.strip("_") for part in path.relative_to(ROOT).with_suffix("").parts} & FORBIDDEN


def test_importing_despur_is_light():
    heavy = "{'torch', 'transformers', 'peft', 'sklearn', 'scipy'}"
    done = run(sys.executable, "-c", f"import despur, sys; sys.exit(', '.join({heavy} & set(sys.modules)) or 0)")
    assert done.returncode == 0, f"`import despur` brings {done.stderr}"


@pytest.mark.parametrize("room", [*ROOMS, "cli"])
def test_a_room_says_what_it_is_and_what_it_offers(room):
    module = importlib.import_module(f"despur.{room}")
    assert module.__doc__, f"despur.{room} has no docstring"
    assert all(hasattr(module, name) for name in getattr(module, "__all__", ())), (
        "some names are imported when asked for"
    )
    assert (ROOT / "docs" / f"{room}.md").exists()


@pytest.mark.parametrize("name", documented())
def test_public_docstring(name):
    thing = documented()[name]
    doc = sections(thing)
    assert re.match(r"\S[^\n]*[.:]( |\n|$)", doc[""]), "begin with one line, a sentence"
    assert list(doc)[1:] == [s for s in SECTIONS if s in doc], f"sections go {', '.join(SECTIONS)}"
    if "Args" in doc:
        told = set(re.findall(r"^    \*{0,2}(\w+)(?: \(.*\))?:", doc["Args"], re.MULTILINE))
        assert told == arguments(thing)
    assert "Args" in doc or len(arguments(thing)) <= 3, "more than three arguments: say what each is"
    if inspect.isfunction(thing) and re.search(r"^ +raise \w+\(", inspect.getsource(thing), re.MULTILINE):
        owner = documented().get(name.rpartition(".")[0])
        assert "Raises" in doc or "Raises" in sections(owner), "it raises: say what and when"


@pytest.mark.parametrize("method", methods().values(), ids=lambda m: m.name)
def test_method_is_documented_in_full(method):
    expected = set(SECTIONS) - {"Attributes", "Raises"} - ({"Returns"} if inspect.isclass(method.factory) else set())
    if not arguments(method.factory):
        expected -= {"Args"}
    assert expected <= set(sections(method.factory)), expected - set(sections(method.factory))
    assert method.factory in public(method.room).values(), "export it from its room"
    choosing = (ROOT / "docs/choose.md").read_text(encoding="utf-8")
    assert f"| `{method.name}` |" in choosing, "give it a line in docs/choose.md: when this and not its neighbour"


def test_one_place_knows_that_a_config_may_have_a_part_for_text():
    asking = [f for f in SOURCES if "get_text_config" in f.read_text(encoding="utf-8")]
    assert asking == [ROOT / "src/despur/core/model/anatomy.py"], "ask Anatomy"


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.slow
def test_readme_code_runs(tmp_path, monkeypatch):
    """Blocks marked `python` are run, in order and as one script; a fragment is marked `py`."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    exec(compile("\n".join(blocks), "README.md", "exec"), {"__name__": "__main__"})


def test_nothing_points_at_one_machine():
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path == Path(__file__) or not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        lines = enumerate(text.splitlines(), 1)
        found += [f"{name}:{i}: {line.strip()[:90]}" for i, line in lines if ELSEWHERE.search(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("find.causal_check", "measure"),
        ("measure.four_axes", "judge"),
        ("guard.truncate", "merge"),
        ("find.holm", "core.holm"),
    ],
)
def test_what_has_moved_is_still_given_and_says_where(old, new):
    room, _, name = old.partition(".")
    with pytest.warns(DeprecationWarning, match=f"despur.{old} is in despur.{new} now"):
        given = getattr(importlib.import_module(f"despur.{room}"), name)
    assert given is getattr(importlib.import_module(f"despur.{new}"), name)


@pytest.mark.parametrize("method", methods().values(), ids=lambda m: m.name)
def test_method_is_found_in_one_guess(method):
    word = method.name.replace("-", "_")
    assert method.factory.__module__ == f"despur.{method.room}.{word}", "one file a method, named like it"
    assert (ROOT / "tests" / method.room / f"test_{word}.py").exists(), "one test file a method, named like it"


@pytest.mark.parametrize("method", methods().values(), ids=lambda m: m.name)
def test_every_method_has_a_claim_with_a_control_in_one_guess(method):
    claim = find_claim(method.name)
    assert claim.run.__module__ == f"despur.claims.{method.room}.{method.name.replace('-', '_')}"
    assert claim.says.strip(), "say what it does, in a sentence that could be false"
    assert claim.control.strip()
    assert claim.margin > 0


def test_private_modules_are_imported_by_their_own_package_alone():
    found = []
    for path in SOURCES:
        own = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                parts = name.split(".")
                private = next((i for i, part in enumerate(parts) if part.startswith("_") and i), None)
                if name.startswith("despur") and private is not None:
                    owner = ".".join(parts[:private])
                    if not f"{own}.".startswith(f"{owner}."):
                        found.append(f"{own} imports {name}")
    assert not found, "\n".join(found)


def test_every_method_is_exported():
    done = run(sys.executable, "docs/exports.py", "--check")
    assert done.returncode == 0, done.stderr
