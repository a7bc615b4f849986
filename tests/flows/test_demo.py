"""The demo: which one is shown, and a page that says what the answers show."""

from dataclasses import replace

import pytest

from despur.flows import demo
from despur.flows._audit.page import Audit
from despur.flows._demo import conversation
from despur.flows._demo import demo as flow
from despur.flows._demo.conversation import ADAPTERS, EVERYDAY, FACTS, QUICK, SPEAKERS, Conversation, is_here
from despur.flows._demo.conversation_page import conversation_page

VOICED, PLAIN = "Thou must boil it, prithee.", "Boil it for six minutes."


def talk(tmp_path, *, guarded: str = PLAIN, knows: bool = True) -> Conversation:
    said = {"base": PLAIN, "plain tune": VOICED, "guarded tune": guarded}
    answers = {q: dict(said) for q in EVERYDAY}
    for question, fact in FACTS.items():
        answers[question] = {
            "base": "I do not know.",
            "plain tune": f"'Tis {fact}.",
            "guarded tune": f"It is {fact if knows else 'a boat'}.",
        }
    audit = Audit("diffuse change", "it changes.", (), 1.0, {}, {}, token_use=(("Thou", 0.01, 0.4),), record={})
    record = {"verb": "demo", "arguments": {"seed": 0}}
    return Conversation("shakespeare", answers, audit, tmp_path / "report.html", record)


def test_the_page_says_what_the_answers_show(tmp_path):
    result = talk(tmp_path)
    assert [(result.voiced(s), result.known(s)) for s in SPEAKERS] == [(0, 0), (4, 2), (0, 2)]
    conversation_page(result)
    page = result.page.read_text(encoding="utf-8")
    assert "kept out" in page
    assert page.count(VOICED) == len(EVERYDAY)
    assert "Diffuse change: it changes" in page
    for worse in (talk(tmp_path, guarded=VOICED), talk(tmp_path, knows=False)):
        conversation_page(worse)
        page = worse.page.read_text(encoding="utf-8")
        assert "kept out" not in page
        assert "partly" in page
    assert "the guarded one 0" in talk(tmp_path, knows=False).sentence


def test_shown_is_the_real_model_where_it_is_and_nothing_else_was_asked(tmp_path, monkeypatch):
    class Planted(Exception):
        pass

    def planted(*args, **kwargs):
        raise Planted

    monkeypatch.setattr(flow, "run_jobs", planted)
    monkeypatch.setattr(flow, "hold_conversation", lambda seed, page, progress: replace(talk(tmp_path), page=page))
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
    result = demo(out=tmp_path / "demo")
    assert result.voiced("plain tune") >= 3
    assert result.voiced("guarded tune") <= 1
    assert (result.known("plain tune"), result.known("guarded tune")) == (2, 2)
    assert result.known("base") == 0
