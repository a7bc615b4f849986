"""Pages in a real browser: inert, in their boxes, readable at every width and in both modes."""

import os
import shutil
from pathlib import Path

import pytest

from despur.report import write_page
from tests.report.test_page import EVIL, everything
from tests.report.test_study import everything as study

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="needs a Chromium: install it, or name it in CHROMIUM"),
]
LONG = "w" * 10_000
TEXTS = (EVIL, LONG, "\u202egnp.exe \x1b[31m", "שלום עולם " * 60, "plain words " * 200)
AXE = os.environ.get("AXE", "")  # axe.min.js of `npm pack axe-core`


@pytest.fixture(scope="module")
def browser():
    """Chromium, by playwright; nothing is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A page of every block with every hostile text."""
    file = tmp_path_factory.mktemp("browser") / "report.html"
    blocks = [block for text in TEXTS for block in (*everything(text), *study(text))]
    write_page(file, title=EVIL, subtitle=LONG, blocks=blocks, facts={EVIL: LONG}, command=f"despur {LONG}")
    assert file.stat().st_size < 2**20
    return file


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1440])
def test_a_page_is_inert_and_stays_in_its_width(browser, path, width, mode):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=mode)
    page = context.new_page()
    trouble, asked = [], []
    page.on("console", lambda message: trouble.append(message.text))
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("dialog", lambda dialog: trouble.append(dialog.message))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(Path(path).as_uri())
    assert trouble == []
    assert asked == [Path(path).as_uri()], "no request but for the page itself"
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "no scrolling sideways"
    wide = page.evaluate(
        "[...document.querySelectorAll('dd, td, th, pre, p')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 1)"
        ".map(e => e.outerHTML.slice(0, 200))"
    )
    assert wide == [], "every text stays in its box"
    paper, ink = page.evaluate(
        "[getComputedStyle(document.documentElement).backgroundColor, getComputedStyle(document.body).color]"
    )
    light = sum(map(int, paper[4:-1].split(","))) > sum(map(int, ink[4:-1].split(",")))
    assert light == (mode == "light")
    context.close()


@pytest.mark.skipif(not AXE, reason="needs axe-core: npm pack axe-core, then AXE=package/axe.min.js")
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, path, mode):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=mode, bypass_csp=True)
    page = context.new_page()
    page.goto(Path(path).as_uri())
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run()")["violations"]
    bad = [
        (v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found if v["impact"] in ("serious", "critical")
    ]
    assert bad == []
    context.close()
