"""What a reader is sent to is there: paths, dotted names, commands' options and make targets in pages and settings."""

import importlib
import re
from functools import cache
from pathlib import Path

import pytest
import typer.main

ROOT = Path(__file__).parents[1]
FOLDERS = ("", "docs/**/", "recipes/**/", "benchmarks/**/", "src/despur/**/")
PROSE = sorted(p for folder in FOLDERS for p in ROOT.glob(f"{folder}*.md"))
PAGES = [*PROSE, *(ROOT / name for name in ("pyproject.toml", "mkdocs.yml", "Makefile"))]
SCRIPTS = sorted(p for d in ("examples", "recipes", "benchmarks", "docs") for p in ROOT.glob(f"{d}/**/*.py"))
TREES = "src|tests|docs|examples|recipes|benchmarks"
ROOMS = "cli|core|find|flows|guard|judge|latent|measure|merge|report|solve|steer|unlearn|worlds"
PATH = re.compile(rf"(?<![\w./{{-])((?:{TREES}|{ROOMS}|\.ci|\.github)/[\w./-]*\w/?)")
DOTTED = re.compile(r"(?<![\w/@.-])(despur(?:\.\w+)+)")
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
# a schema's own name, a file that a run writes, the entry points of plugins
ARE_NO_MODULES = {"despur.audit", "despur.json", "despur.methods"}
# what a run writes, and names that stand for others
WRITTEN = re.compile(r"^(report|audit|find|cleaned|run)/?$|^guard/(adapter|scout)|^flows/_name/$")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def resolves(dotted: str) -> bool:
    parts = dotted.split(".")
    for i in range(len(parts), 0, -1):
        try:
            thing: object = importlib.import_module(".".join(parts[:i]))
        except ModuleNotFoundError:
            continue
        for part in parts[i:]:
            if not hasattr(thing, part):
                return False
            thing = getattr(thing, part)
        return True
    return False


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][\w-]*):", read(ROOT / "Makefile"), re.MULTILINE))


@cache
def options() -> frozenset[str]:
    """Every option of every command."""
    from despur.cli.app import COMMANDS, app, command

    found = {"--help"}
    for built in (typer.main.get_command(app), *map(command, COMMANDS)):
        for parameter in built.params:
            found |= {*parameter.opts, *parameter.secondary_opts}
    return frozenset(found)


def is_there(path: str) -> bool:
    return any((ROOT / top / path).exists() for top in ("", "src/despur"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_exist(page):
    paths = {p for p in PATH.findall(read(page)) if not WRITTEN.search(p)}
    assert not sorted(p for p in paths if not is_there(p))


@pytest.mark.parametrize("page", PROSE, ids=name)
def test_links_lead_somewhere(page):
    links = {link for link in LINK.findall(read(page)) if not link.startswith("#")}
    assert not sorted(link for link in links if not (page.parent / link).exists())


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS], ids=name)
def test_dotted_names_can_be_imported(page):
    names = set(DOTTED.findall(read(page))) - ARE_NO_MODULES
    assert not sorted(n for n in names if not resolves(n))


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS], ids=name)
def test_make_targets_exist(page):
    lines = re.findall(r"`\.?/?make ([a-z][a-z -]*)`|^make ([a-z-]+)", read(page), re.MULTILINE)
    assert not {word for line in lines for word in " ".join(line).split()} - targets()


@pytest.mark.parametrize("page", [*PROSE, *ROOT.glob("examples/*.sh"), *ROOT.glob("examples/*.yml")], ids=name)
def test_options_exist(page):
    """Lines that call `despur`, in code; other programs have options of their own."""
    code = re.findall(r"^ *despur .*|`despur [^`]*`", read(page), re.MULTILINE)
    assert not sorted({o for line in code for o in OPTION.findall(line)} - options())


def test_settings_name_folders_and_modules_that_exist():
    import tomllib

    settings = tomllib.loads(read(ROOT / "pyproject.toml"))
    pytest_ini = settings["tool"]["pytest"]["ini_options"]
    folders = [*pytest_ini["testpaths"], *pytest_ini["pythonpath"], *settings["tool"]["pyright"]["include"]]
    folders += settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert not [f for f in folders if not (ROOT / f).is_dir()]
    packed = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert not [p for p in packed if not list(ROOT.glob(p.lstrip("/")))]
    for contract in settings["tool"]["importlinter"]["contracts"]:
        for container in contract.get("containers", contract.get("source_modules", [])):
            assert resolves(container), container


def test_names_that_moved_are_where_the_changelog_says():
    notes = read(ROOT / "CHANGELOG.md").split("\n- ")
    moves = [m.groups() for note in notes if (m := re.match(r"`[\w.]+` → `(\w+)`: (.*)", note, re.DOTALL))]
    assert {home for home, _ in moves} == {"flows", "judge", "measure", "merge"}
    names = {f"despur.{home}.{n}" for home, note in moves for n in re.findall(r"`(\w+)`", note)}
    names -= {f"despur.{home}.judge" for home, _ in moves}  # a room that a note names
    assert len(names) > 60
    assert not sorted(n for n in names if not resolves(n))


def test_it_would_see_what_is_not_there():
    assert not is_there("tests/planted.py")
    assert PATH.findall("see `tests/planted.py`, and core/_train.py.") == ["tests/planted.py", "core/_train.py"]
    assert DOTTED.findall("`despur.find.causal_check(...)`") == ["despur.find.causal_check"]
    assert not resolves("despur.find.no_such_name")
    assert "--no-such-option" not in options()
