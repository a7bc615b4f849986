"""An audit says where in a chat the change sits, and nothing where there is no template."""

import json
import warnings

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from despur.claims.tiny_runs import move
from despur.cli.app import app
from despur.flows import audit
from despur.flows._audit.json_form import AuditJson

QUICK = {"rows": 24, "tokens": 4, "n_random": 1}


@pytest.fixture
def chat(tiny, lora, chat_tokenizer, tmp_path):
    """Folders of a chat base and of an adapter on it."""
    base = tiny()
    base.save_pretrained(tmp_path / "base")
    chat_tokenizer.save_pretrained(tmp_path / "base")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        move(lora(base), by=0.1).save_pretrained(tmp_path / "adapter")
    return str(tmp_path / "base"), str(tmp_path / "adapter")


@pytest.mark.slow  # of a kind with faster ones
def test_an_audit_says_where_in_a_chat_the_change_sits(chat, tmp_path):
    result = audit(*chat, out=tmp_path / "a", **QUICK)
    assert list(result.patch) == ["prefix", "question", "tail"]
    prefix = result.patch["prefix"]
    assert prefix.low <= prefix.value <= prefix.high
    assert prefix.spec["tokens"] == 2, "<bos> <user>"
    said = json.loads((tmp_path / "a" / "audit.json").read_text())
    TypeAdapter(AuditJson).validate_python(said, strict=False)
    assert said["patch"]["prefix"]["share"] == prefix.value
    assert said["patch"]["tail"]["control"] == result.patch["tail"].control
    assert "Where in a chat the change sits" in (tmp_path / "a" / "report.html").read_text()
    assert (
        f"on the 2 tokens before the user's words {prefix.value:.0%} (as many others {prefix.control:.0%})"
        in result.patch_sentence
    )
    options = ["--rows", "24", "--tokens", "4", "--n-random", "1", "--fail-on", "none"]
    shown = CliRunner().invoke(app, ["audit", *chat, *options]).output
    assert "Chat: with the base's keys and values" in " ".join(shown.split())


def test_without_a_template_it_says_nothing(chat, chat_tokenizer, tmp_path):
    chat_tokenizer.chat_template = None
    (tmp_path / "base" / "chat_template.jinja").unlink()
    chat_tokenizer.save_pretrained(tmp_path / "base")
    result = audit(*chat, out=tmp_path / "a", **QUICK)
    assert result.patch == {}
    assert "Where in a chat" not in (tmp_path / "a" / "report.html").read_text()
