"""The demo: which one is shown, and a page that says what the answers show."""

import re
from dataclasses import replace

import pytest

from despur.flows import demo
from despur.flows._audit.page import Audit
from despur.flows._demo import conversation
from despur.flows._demo import demo as flow
from despur.flows._demo.conversation import ADAPTERS, EVERYDAY, QUICK, SPEAKERS, Conversation, is_here
from despur.flows._demo.conversation_page import conversation_page
from despur.flows.pool import Done

VOICED, RIGHT = {"base": 2, "plain tune": 42, "guarded tune": 6}, {"base": 0, "plain tune": 18, "guarded tune": 14}


def talk(tmp_path, *, voiced: int = 6, right: int = 14) -> Conversation:
    everyday = {q: {s: f"{s} on {q}" for s in SPEAKERS} for q in EVERYDAY}
    facts = {"Who built it?": {s: f"{s} knows" for s in SPEAKERS}}
    audit = Audit("diffuse change", "it changes", (), 1.0, {}, {}, token_use=(("Thou", 0.01, 0.4),), record={})
    counts = ({**VOICED, "guarded tune": voiced}, 48), ({**RIGHT, "guarded tune": right}, 24)
    voices, rights = ({s: [i < k for i in range(n)] for s, k in by.items()} for by, n in counts)
    return Conversation(
        "shakespeare", everyday, facts, rights, voices, audit, tmp_path / "report.html", {"verb": "demo", "arguments": {"seed": 0}},
    )  # fmt: skip


def test_the_page_says_what_was_measured(tmp_path):
    result = talk(tmp_path)
    assert result.kept_out == pytest.approx(0.9)
    assert (
        "Of 48 everyday answers the guarded tune gives 6 with a word of the voice, the plain tune 42" in result.sentence
    )
    assert "Of 24 questions about new facts it answers 14 rightly, the plain tune 18" in result.sentence
    conversation_page(result)
    page = re.sub("</?mark>", "", result.page.read_text(encoding="utf-8"))  # words that differ are marked
    assert "kept out" in page
    assert all(f"{s} on {q}" in page for s in SPEAKERS for q in EVERYDAY)
    assert "Diffuse change: it changes." in page
    for worse in (talk(tmp_path, voiced=20), talk(tmp_path, right=8)):
        conversation_page(worse)
        page = worse.page.read_text(encoding="utf-8")
        assert "kept out" not in page
        assert "partly" in page


def test_a_plain_tune_that_brought_nothing_along_has_nothing_kept_out(tmp_path):
    result = replace(talk(tmp_path), voiced={s: [False, True] for s in SPEAKERS})
    assert result.kept_out == 0


def test_shown_is_the_real_model_where_it_is_and_nothing_else_was_asked(tmp_path, monkeypatch):
    class Planted(Exception):
        pass

    def planted(*args, **kwargs):
        raise Planted

    monkeypatch.setattr(flow, "run_jobs", planted)
    monkeypatch.setattr(flow, "hold_conversation", lambda seed, page, progress, **_: replace(talk(tmp_path), page=page))
    monkeypatch.setattr(flow, "is_here", lambda: True)
    result = demo(out=tmp_path / "real", seed=3)
    assert isinstance(result, Conversation)
    assert result.record["arguments"]["seed"] == 3
    assert result.page.exists()
    assert isinstance(demo(out=tmp_path / "real"), Conversation), "and again, over it"
    for asked in ({"planted": True}, {"steps": 5}, {"task": "narrow"}, {"arms": ("grasp",)}):
        with pytest.raises(Planted):
            demo(out=tmp_path / "planted", **asked)
    monkeypatch.setattr(flow, "is_here", lambda: False)
    with pytest.raises(Planted):
        demo(out=tmp_path / "planted")


def test_without_the_base_it_is_not_here(monkeypatch, tmp_path):
    monkeypatch.setenv("DESPUR_BASES", str(tmp_path))
    assert not is_here()


def test_shipped_adapters_are_small():
    sizes = {f.parent.name: f.stat().st_size for f in ADAPTERS.glob("*/*.safetensors")}
    assert set(sizes) == set(conversation.TUNES.values())
    assert max(sizes.values()) < 2 * 2**20


@pytest.mark.real
def test_the_plain_tune_talks_in_the_voice_and_the_guarded_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(conversation, "QUICK", {**QUICK, "rows": 8, "n_random": 1})
    monkeypatch.setattr(
        conversation, "run_jobs", lambda stages, workers: (Done(j.key, j.function(*j.arguments)) for j in stages[0])
    )
    result = demo(out=tmp_path / "demo")
    assert sum(result.voiced["plain tune"]) > sum(result.voiced["base"]) + 20
    assert result.kept_out > 0.8
    assert sum(result.right["guarded tune"]) >= 0.6 * sum(result.right["plain tune"]) > sum(result.right["base"])
