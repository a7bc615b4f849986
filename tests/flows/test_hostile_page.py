"""Hostile text from a real tokenizer, through a real audit, onto its page, its Markdown and a notebook."""

import json
import re
import shutil

import pytest

from despur.cli.report import VIEWS
from despur.core.errors import BadInput
from despur.flows import audit, report

EVIL = (
    "<script>alert(1)</script>",
    "w" * 10_000,
    "\u202egnp.exe",
    "\x1b[31mred\x07",
    "שלום",
    "</style></svg><img src=x onerror=alert(2)>",
)


@pytest.fixture(scope="session")
def hostile(base, adapter, tmp_path_factory):
    """An audit of a model whose tokenizer calls its most frequent words by hostile names."""
    root = tmp_path_factory.mktemp("hostile")
    shutil.copytree(base, root / "base")
    saved = json.loads((root / "base/tokenizer.json").read_text())
    names = dict(zip([f"s{a}{b}{c}" for a in range(6) for b in range(2) for c in range(2)], EVIL * 4, strict=True))
    vocabulary = saved["model"]["vocab"]
    saved["model"]["vocab"] = {f"{names[w]}{w}" if w in names else w: i for w, i in vocabulary.items()}
    (root / "base/tokenizer.json").write_text(json.dumps(saved))
    return audit(str(root / "base"), adapter, out=root / "audit", rows=48, n_random=2), root / "audit"


def test_hostile_text_is_inert_and_in_view(hostile):
    result, out = hostile
    assert any(EVIL[0] in answer for by in result.answers.values() for answer in by.values()), (
        "the control: it was really said"
    )
    page = (out / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"<script|<img|\x1b|\x07|\u202e", page)
    assert "⟨U+202E⟩gnp.exe" in page
    assert "⟨U+001B⟩[31mred⟨U+0007⟩" in page
    assert page.count("</style>") == 1
    assert max(map(len, re.findall(r"w+", page))) <= 4000, "cut, with a note"
    assert "more characters cut]" in page
    assert "<script" not in result._repr_html_()


def test_a_report_is_written_again_for_any_run(hostile, tmp_path, capsys, monkeypatch):
    _, out = hostile
    copy = shutil.copytree(out, tmp_path / "copy")
    old = (copy / "report.html").read_bytes()
    (copy / "report.html").unlink()
    again = report(copy)
    assert again.page.read_bytes() == old
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    VIEWS["report"].show(again, {"format": "md", "open": True})
    assert opened == [(copy / "report.html").as_uri()]
    text = capsys.readouterr().out
    assert "<script" not in text.replace("\\<", "")
    assert "⟨U+202E⟩" in text
    (copy / "report.json").unlink()
    with pytest.raises(BadInput, match=r"no readable plan.*despur run"):
        report(copy)
