"""The site's pages: their Python runs, their commands and files exist, the glossary is CONTRIBUTING's, every page is in the nav."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

from despur.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
PAGES = ("tutorial", "received", "python", "limits", "neighbours", "concepts", "glossary")


def read(name: str) -> str:
    return (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")


def site_pages():
    """The hook of the site, which is no module of a package."""
    spec = importlib.util.spec_from_file_location("pages", ROOT / "docs/pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_changelog_is_a_page_whose_links_lead_somewhere():
    page = site_pages().changelog()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page)
    assert len(links) > 2
    assert not [link for link in links if not (ROOT / "docs" / link).is_file()]
    assert page.count("\n- ") == (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").count("\n- ")


def test_the_python_of_the_page_runs():
    blocks = re.findall(r"^```python\n(.*?)^```", read("python"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    exec(compile("\n".join(blocks), "docs/python.md", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", PAGES)
def test_commands_options_and_links_of_a_page_exist(page):
    known = read("cli")
    for line in re.findall(r"^despur .+|`despur [^`]+`", read(page), re.MULTILINE):
        words = shlex.split(line.strip("`").partition("#")[0])
        assert words[1] in {c.partition(" ")[0] for c in COMMANDS}, line
        assert all(f"--{w.removeprefix('--')}" in known for w in words if w.startswith("--")), line
    for target in re.findall(r"\]\(([\w-]+\.md)", read(page)):
        assert (ROOT / "docs" / target).is_file(), target
    for file in re.findall(r"`(examples/[\w.]+|action\.yml|\.pre-commit-hooks\.yaml)`", read(page)):
        assert (ROOT / file).is_file(), file


def test_the_glossary_is_that_of_contributing():
    table = read("glossary").partition("| word | meaning |")[2].strip()
    assert len(table.splitlines()) > 30
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert table in contributing.replace("](docs/", "](")  # a page links to its neighbours


def test_every_page_is_in_the_nav():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_load(text[text.index("nav:") :])["nav"]
    named = {p for part in nav for v in part.values() for p in (v if isinstance(v, list) else [v])}
    pages = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    questions = {p for p in pages if p.startswith("log/")} - {"log/index.md"}
    assert pages - questions | set(site_pages().PAGES) == named
    lines = re.findall(r"^\| \[[^]]+\?\]\(([\w-]+\.md)\) \| \S.* \|$", read("log/index"), re.MULTILINE)
    assert sorted(f"log/{p}" for p in lines) == sorted(questions)  # each once, with what was found


def test_every_question_of_the_log_has_its_page():
    for page in (ROOT / "docs/log").glob("*.md"):
        title, *entries = re.findall(r"^##? (.+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        if page.name != "index.md":
            assert title.endswith("?"), page.name
            dates = [re.match(r"\d{4}-\d\d-\d\d(?=$|: .)", e)[0] for e in entries]
            assert dates, page.name
            assert dates == sorted(dates, reverse=True), page.name
